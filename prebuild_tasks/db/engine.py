"""Connections and transactions: one way to read, one to take a snapshot, one to write."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import ColumnElement, Connection, bindparam, literal, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from prebuild_tasks.clock import Clock, utcnow
from prebuild_tasks.config import masked_url
from prebuild_tasks.db.connections import BEGIN, SNAPSHOT, WRITE, make_engine, raw_connection, run_by_driver
from prebuild_tasks.db.types import UtcDateTime, db_now
from prebuild_tasks.errors import BusyError, InputError, PrebuildError, UnreachableError
from prebuild_tasks.remedies import Remedy, RemedyKind

if TYPE_CHECKING:  # Alembic takes a third of a claim's start-up, and a claim never migrates
    from alembic.config import Config

_BUSY_STATES = {"55P03", "40P01", "40001"}
"""PostgreSQL: lock not available, deadlock detected, serialization failure."""
_MAY_NOT = {"42501", "25006"}
"""PostgreSQL: insufficient privilege, a transaction that may only read (a standby's, or by the user's default)."""
_MIGRATIONS = Path(__file__).parents[1] / "schema" / "migrations"


_GIVEN_NOW = bindparam("now", type_=UtcDateTime())
_DB_NOW = db_now()

SERVES_FROM_KEY = "serves_from"
"""Settings row with the lowest revision of the application that is served; a migration that takes away sets it."""


class Database:
    """One database, and how to talk to it. Safe to share between threads, not across a fork.

    `clock` replaces the database's own clock, for tests with frozen time; SQLite has none, so it always uses one.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self.url = url
        try:
            parsed = make_url(url)
            if "@" in (parsed.host or ""):
                raise ArgumentError("an @ of the password must be written as %40")
            self.dialect: Literal["postgresql", "sqlite"] = _supported(parsed.get_backend_name())
            self.engine = make_engine(url, self.dialect)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
            if type(error) is ValueError:  # its words may be a part of the password
                error = ArgumentError("it is not understood; special characters of the password are written as %XX")
            raise InputError(
                f"PREBUILD_DATABASE_URL={masked_url(url)} can't be used: {error}",
                hint="use sqlite:///path/file.db, or postgresql://user@host/name and install the extra [postgres]",
            ) from None
        self._clock = clock if clock is not None else (utcnow if self.dialect == "sqlite" else None)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Short reads. On PostgreSQL each sees what is committed when it runs, as it would in a transaction."""
        with self._transaction() as connection:
            yield connection

    def run(self, words: str, values: Mapping[str, object]) -> Sequence[object] | None:
        """The row, or None, of one statement that is a transaction by itself. PostgreSQL only. Raises as `write`."""
        with self._translated():
            connection = raw_connection(self.engine)
            try:
                return run_by_driver(connection, words, values).fetchone()
            finally:
                connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A read-only transaction that sees one instant of the whole database."""
        with self._transaction(SNAPSHOT) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A writing transaction. Raises BusyError when a row or the file was held too long."""
        with self._transaction(WRITE) as connection:
            yield connection

    @contextmanager
    def _transaction(self, kind: str = "") -> Iterator[Connection]:
        with (
            self._translated(),
            self.engine.connect().execution_options(**{BEGIN: kind}) as connection,
            connection.begin(),
        ):
            yield connection

    def now(self, connection: Connection) -> datetime:
        """The instant decisions are made at: the database's clock, read now."""
        return self._clock() if self._clock else connection.execute(select(db_now())).scalar_one()

    def now_column(self) -> ColumnElement[datetime]:
        """The same as a column, to read it together with something else in one statement."""
        return literal(self._clock(), UtcDateTime()).label("now") if self._clock else db_now().label("now")

    def now_sql(self) -> tuple[ColumnElement[datetime], dict[str, datetime]]:
        """The same for statements that are built once: a column, and the parameter it takes where a clock is given."""
        return (_GIVEN_NOW, {"now": self._clock()}) if self._clock else (_DB_NOW, {})

    def upgrade(self) -> list[str]:
        """Migrate to the newest revision; returns the revisions applied. Safe to run twice and side by side."""
        from alembic import command
        from alembic.script import ScriptDirectory

        if self.dialect == "sqlite" and (path := make_url(self.url).database):
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.write() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            before = config.attributes["revision_before"]
            script = ScriptDirectory.from_config(config)
            return [step.revision for step in script.iterate_revisions("head", before or "base")][::-1]

    def revision(self) -> str | None:
        """The revision the database is at; None before the first migration."""
        with self.read() as connection:
            return _current(connection)

    def head(self) -> str:
        """The revision this release was made for."""
        from alembic.script import ScriptDirectory

        return ScriptDirectory.from_config(alembic_config()).get_current_head() or ""

    def serves_from(self) -> str:
        """The lowest revision of an application that the database still serves; empty: any."""
        with self.read() as connection:
            query = text("SELECT value FROM settings WHERE key = :key")
            stored = connection.execute(query, {"key": SERVES_FROM_KEY}).scalar_one_or_none()
        found = json.loads(stored) if isinstance(stored, str) else stored or {}
        return str(found.get("revision", ""))

    def require_schema(self) -> None:
        """Raise InputError unless this release can work on the database as it is.

        It needs every column it was made for. A newer database serves it too: migrations only add, and what is taken
        away a release later is announced by the lowest revision of the application that the database still serves.
        """
        current, head = self.revision(), self.head()
        if (current or "") < head:
            raise InputError(
                f"the database {masked_url(self.url)} is at schema {current or 'none'}, this release needs {head}",
                remedy=Remedy(RemedyKind.UPGRADE_SCHEMA),
            )
        if head < (lowest := self.serves_from()):
            raise InputError(
                f"this release is of schema {head}, the database {masked_url(self.url)} serves {lowest} and later",
                hint="install the release that the other workers run",
            )

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (UnicodeEncodeError, OverflowError) as error:
            raise _no_value(error) from error
        except DBAPIError as error:
            if translated := self._translate(error):
                raise translated from error
            raise
        except SQLAlchemyError as error:
            if "QueuePool limit" in str(error):
                raise BusyError("every database connection of this process is in use") from error
            raise

    def _translate(self, error: DBAPIError) -> PrebuildError | None:
        original = error.orig
        state = getattr(original, "sqlstate", None)
        if state in _BUSY_STATES:
            return BusyError("another process held the row for too long")
        if isinstance(original, sqlite3.OperationalError):
            words = str(original)
            if "locked" in words:
                return BusyError("another process held the database file for too long")
            if "unable to open" in words or "readonly" in words or "disk I/O" in words or "full" in words:
                return self._unreachable(words)
            if "no such table" in words:
                return _no_schema()
            return _old_schema(words) if "no such column" in words or "has no column" in words else None
        if type(original).__name__ == "DataError" or (state or "").startswith("22"):
            return _no_value(original)
        if state == "42P01":
            return _no_schema()
        if state == "42703":
            return _old_schema(str(original))
        if state in _MAY_NOT:
            return self._may_not(str(original).strip().splitlines()[0])
        # 53: out of disk, memory or connections.
        lost = error.connection_invalidated or (state or "").startswith(("08", "57P0", "28", "3D", "53"))
        # By name, as the driver is an extra; by every name it has, as psycopg has one of its own for a time that is up.
        kinds = {kind.__name__ for kind in type(original).__mro__}
        if lost or (state is None and kinds & {"OperationalError", "InterfaceError"}):
            return self._unreachable(str(original).strip().splitlines()[0] if str(original).strip() else "no answer")
        return None

    def _may_not(self, words: str) -> InputError:
        return InputError(
            f"the user of the database {masked_url(self.url)} may not do this: {words}",
            hint="let it write to all tables, or name another user in PREBUILD_DATABASE_URL; "
            "plan writes, too, and takes it back",
        )

    def _unreachable(self, words: str) -> UnreachableError:
        hint, remedy = _way_out(words, self.dialect)
        return UnreachableError(
            f"the database {masked_url(self.url)} could not be used: {words}",
            hint=hint,
            remedy=remedy,
        )


def alembic_config() -> Config:
    """Alembic's configuration, for code and for `alembic check`; there is no ini file to keep in step."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _no_value(error: object) -> InputError:
    words = str(error).strip().split("\n", maxsplit=1)[0][:200]
    return InputError(f"a value can't be stored or compared: {words}", hint="use printable text and plain numbers")


def _no_schema() -> InputError:
    return InputError("the database has no prebuild tables yet", remedy=Remedy(RemedyKind.UPGRADE_SCHEMA))


def _old_schema(words: str) -> InputError:
    line = words.strip().split("\n", maxsplit=1)[0]
    return InputError(f"the database is older than this release: {line}", remedy=Remedy(RemedyKind.UPGRADE_SCHEMA))


_WAYS_OUT = (
    (("password", "authentication failed", "role "), "correct the user and password in PREBUILD_DATABASE_URL"),
    (("disk is full", "No space left"), "make room on its disk"),
    (("too many clients", "connection slots"), "raise its max_connections, or run fewer workers"),
    (("readonly",), "let this user write to the file and its directory"),
)


def _way_out(words: str, dialect: str) -> tuple[str, Remedy | None]:
    for signs, hint in _WAYS_OUT:
        if any(sign in words for sign in signs):
            return hint, None
    if dialect == "sqlite":
        return "", Remedy(RemedyKind.CREATE_DATABASE)
    if "does not exist" in words:
        return "create it with createdb, or correct PREBUILD_DATABASE_URL; then", Remedy(RemedyKind.UPGRADE_SCHEMA)
    return "start it, or point PREBUILD_DATABASE_URL at one that runs", None


def _supported(backend: str) -> Literal["postgresql", "sqlite"]:
    if backend == "postgresql":
        return "postgresql"
    if backend == "sqlite":
        return "sqlite"
    raise ArgumentError(f"{backend} is not supported, only PostgreSQL and SQLite are")


def _current(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()
