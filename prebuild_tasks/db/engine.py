"""The database: transactions for reads, snapshots and writes, its clock, its schema, and its errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Literal

from sqlalchemy import ColumnElement, Connection, bindparam, literal, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError

from prebuild_tasks.clock import Clock, monotonic, utcnow
from prebuild_tasks.config import Settings
from prebuild_tasks.db.connections import (
    connection_error,
    postgresql_engine,
    raw_connection,
    run_by_driver,
    sqlite_engine,
)
from prebuild_tasks.db.errors import Translator
from prebuild_tasks.db.letters import COMPLETE
from prebuild_tasks.db.sessions import BEGIN, SNAPSHOT, WRITE, Sessions
from prebuild_tasks.db.types import UtcDateTime, db_now
from prebuild_tasks.errors import BusyError, InputError, PrebuildError, UnfitDatabaseError
from prebuild_tasks.model.addresses import masked_url
from prebuild_tasks.model.urls import with_driver
from prebuild_tasks.remedies import Remedy, RemedyKind

if TYPE_CHECKING:  # importing Alembic takes a third of a claim's start-up, and a claim never migrates
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parents[1] / "schema" / "migrations"


_UPGRADE_PATIENCE = 60.0
"""Seconds for which an upgrade begins again while others use the tables."""
_UPGRADE_PAUSE = 0.5
"""Seconds between two tries, in which others get the tables."""
_CLOCK_NOW = bindparam("now", type_=UtcDateTime())
_DB_NOW = db_now()

SERVES_FROM_KEY = "serves_from"
"""Key of the settings row with the lowest revision of the application that the schema still serves. A migration that
removes something sets it."""


class Database:
    """A database. It can be shared between threads, but not across a fork.

    `clock` replaces the database's own clock, for tests with frozen time; SQLite has none, so the process's is used.
    Every method that reads or writes raises UnreachableError if the database does not answer, and InputError for a
    value that it cannot store.
    """

    def __init__(self, url: str, clock: Clock | None = None, *, pooler: str = "") -> None:
        """Take the URL, and `transaction` for a pooler in that mode. Nothing is connected to before the first use.

        Raises InputError for a URL that cannot be used.
        """
        self.url = url = with_driver(url)
        self.sessions: Sessions | None = None
        """Those of PostgreSQL."""
        try:
            parsed = make_url(url)
            if "@" in (parsed.host or ""):
                raise ArgumentError("write an @ in the password as %40")
            self.dialect: Literal["postgresql", "sqlite"] = _supported(parsed.get_backend_name())
            if self.dialect == "postgresql":
                self.engine, self.sessions = postgresql_engine(url, pooled=pooler == "transaction")
            else:
                _require_file(parsed)
                self.engine = sqlite_engine(url)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
            if type(error) is ValueError:  # its message may hold a part of the password
                error = ArgumentError("it cannot be parsed; write special characters of the password as %XX")
            raise InputError(
                f"PREBUILD_DATABASE_URL={masked_url(url)} cannot be used: {error}",
                hint="use sqlite:///path/file.db, or postgresql://user@host/name and install the extra [postgres]",
            ) from None
        self._clock = clock if clock is not None else (utcnow if self.dialect == "sqlite" else None)
        self._errors = Translator(url, self.sessions)

    @classmethod
    def of(cls, settings: Settings, url: str = "") -> Database:
        """Return the database of the settings; `url` may be another form of its URL. Raises as the constructor."""
        return cls(url or settings.resolved_database_url, pooler=settings.database_pooler)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for short reads. On PostgreSQL each statement sees what is committed when it runs."""
        with self._transaction() as connection:
            yield connection

    def run(self, statement: str, values: Mapping[str, object]) -> Sequence[object] | None:
        """Execute one statement as a transaction and return its row, or None. PostgreSQL only. Raises like `write`."""
        with self._errors.translated():
            connection = raw_connection(self.engine)
            try:
                return run_by_driver(connection, statement, values).fetchone()
            finally:
                connection.close()

    def change(self, statement: str, values: Mapping[str, object]) -> int:
        """Execute one statement as a transaction and return how many rows it changed. PostgreSQL only.

        Raises like `write`.
        """
        with self._errors.translated():
            connection = raw_connection(self.engine)
            try:
                return run_by_driver(connection, statement, values).rowcount
            finally:
                connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Begin a read-only transaction in which all statements see the database at one instant."""
        with self._transaction(SNAPSHOT) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Begin a writing transaction. Raises BusyError if another process holds a row or the file for too long."""
        with self._transaction(WRITE) as connection:
            yield connection

    @contextmanager
    def _transaction(self, kind: str = "") -> Iterator[Connection]:
        with (
            self._errors.translated(),
            self.engine.connect().execution_options(**{BEGIN: kind}) as connection,
            connection.begin(),
        ):
            yield connection

    def now(self, connection: Connection) -> datetime:
        """Read the database's clock, the time at which decisions are made."""
        return self._clock() if self._clock else connection.execute(select(db_now())).scalar_one()

    def now_column(self) -> ColumnElement[datetime]:
        """Return the database's clock as a column named `now`, to read it within another statement."""
        return literal(self._clock(), UtcDateTime()).label("now") if self._clock else db_now().label("now")

    def now_sql(self) -> tuple[ColumnElement[datetime], dict[str, datetime]]:
        """Return the clock for statements that are built once: a column, and the parameters that it needs."""
        return (_CLOCK_NOW, {"now": self._clock()}) if self._clock else (_DB_NOW, {})

    def upgrade(self) -> list[str]:
        """Migrate to the newest revision and return the applied revisions. May be run again, and concurrently.

        It waits for tables that others use, up to a minute, but never keeps others from them for longer than a moment:
        it begins again. Raises BusyError if it never got them, and InputError for a new database whose encoding cannot
        store every letter.
        """
        until = monotonic() + _UPGRADE_PATIENCE
        while True:
            try:
                return self._upgrade()
            except BusyError:
                if self.dialect == "sqlite" or monotonic() > until:
                    raise
            sleep(_UPGRADE_PAUSE)

    def _upgrade(self) -> list[str]:
        from alembic import command
        from alembic.script import ScriptDirectory

        if self.dialect == "sqlite" and (path := make_url(self.url).database):
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.write() as connection:
            if self.dialect == "postgresql" and _current(connection) is None:
                self._require_every_letter(connection)
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            before = config.attributes["revision_before"]
            script = ScriptDirectory.from_config(config)
            return [step.revision for step in script.iterate_revisions("head", before or "base")][::-1]

    def _require_every_letter(self, connection: Connection) -> None:
        """Raise UnfitDatabaseError for an encoding that has no form for some letters."""
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
        if encoding not in COMPLETE:
            raise UnfitDatabaseError(
                f"the database {masked_url(self.url)} has the encoding {encoding}, which cannot store every letter",
                hint="create it anew: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
            )

    def revision(self) -> str | None:
        """Read the revision of the database; None before the first migration."""
        with self.read() as connection:
            return _current(connection)

    def head(self) -> str:
        """Return the revision that this release needs."""
        from alembic.script import ScriptDirectory

        return ScriptDirectory.from_config(alembic_config()).get_current_head() or ""

    def serves_from(self) -> str:
        """Read the lowest revision of an application that the database still serves; empty for any."""
        with self.read() as connection:
            query = text("SELECT value FROM settings WHERE key = :key")
            stored = connection.execute(query, {"key": SERVES_FROM_KEY}).scalar_one_or_none()
        value = json.loads(stored) if isinstance(stored, str) else stored or {}
        return str(value.get("revision", ""))

    def require_schema(self) -> None:
        """Raise UnfitDatabaseError unless this release can work on the database as it is.

        The database must have every column that this release needs. A newer database serves it, too: migrations only
        add. One that removes something, a release later, sets the lowest revision that the database still serves.
        """
        current, head = self.revision(), self.head()
        if (current or "") < head:
            raise UnfitDatabaseError(
                f"the database {masked_url(self.url)} is at schema {current or 'none'}, but this release needs {head}",
                remedy=Remedy(RemedyKind.UPGRADE_SCHEMA),
            )
        if head < (lowest := self.serves_from()):
            raise UnfitDatabaseError(
                f"this release (schema {head}) is too old for the database {masked_url(self.url)}, "
                f"which needs {lowest} or later",
                hint="install the release that the other workers run",
            )

    def connections_allowed(self) -> int | None:
        """Return how many connections this user may have open; None where that is not limited by the database."""
        if self.dialect == "sqlite" or (self.sessions is not None and self.sessions.pooled):
            return None
        setting = "current_setting('{}')::int"
        reserved = setting.format("superuser_reserved_connections")
        query = text(f"SELECT {setting.format('max_connections')} - {reserved}")
        with self.read() as connection:
            return int(connection.execute(query).scalar_one())

    @contextmanager
    def no_driver_errors(self) -> Iterator[None]:
        """Raise an error of this project for an IntegrityError too, for a caller outside of it."""
        try:
            yield
        except IntegrityError as error:
            raise self._errors.translate(error) from error

    def error_of(self, error: Exception) -> PrebuildError:
        """Return the error of this project for one of the driver, which could not connect by itself."""
        return self._errors.translate(connection_error(self.engine, error))

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def is_read_only(database: Database, connection: Connection) -> bool:
    """Return whether the database takes no writes: as a standby, or by its own settings and not only by its user's."""
    if database.sessions is None:
        return False
    setting = connection.execute(text("SELECT current_setting('transaction_read_only')")).scalar_one()
    return bool(setting == "on") and not database.sessions.role_is_read_only


def alembic_config() -> Config:
    """Create Alembic's configuration, for code and for `alembic check`; there is no ini file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _supported(backend: str) -> Literal["postgresql", "sqlite"]:
    if backend == "postgresql":
        return "postgresql"
    if backend == "sqlite":
        return "sqlite"
    raise ArgumentError(f"{backend} is not supported; use PostgreSQL or SQLite")


def _require_file(url: URL) -> None:
    """Raise ArgumentError for a database in memory, which no other connection could see."""
    name = url.database or ":memory:"
    if ":memory:" in name or url.query.get("mode") == "memory":
        raise ArgumentError("a database in memory cannot be shared with other processes; name a file")


def _current(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()
