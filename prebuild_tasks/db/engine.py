"""The database: transactions for reads, snapshots and writes, its clock, its schema, and its errors."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import ColumnElement, Connection, bindparam, literal, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from prebuild_tasks.clock import Clock, utcnow
from prebuild_tasks.config import masked_url
from prebuild_tasks.db.connections import BEGIN, SNAPSHOT, WRITE, make_engine, raw_connection, run_by_driver
from prebuild_tasks.db.types import UtcDateTime, db_now
from prebuild_tasks.errors import BusyError, InputError, PrebuildError, UnreachableError
from prebuild_tasks.remedies import Remedy, RemedyKind

if TYPE_CHECKING:  # importing Alembic takes a third of a claim's start-up, and a claim never migrates
    from alembic.config import Config

_BUSY_STATES = {"55P03", "40P01", "40001"}
"""SQLSTATEs of PostgreSQL: lock not available, deadlock detected, serialization failure."""
_FORBIDDEN_STATES = {"42501", "25006"}
"""SQLSTATEs of PostgreSQL: insufficient privilege, read-only transaction (on a standby, or the user's default)."""
_MIGRATIONS = Path(__file__).parents[1] / "schema" / "migrations"


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

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self.url = url
        try:
            parsed = make_url(url)
            if "@" in (parsed.host or ""):
                raise ArgumentError("write an @ in the password as %40")
            self.dialect: Literal["postgresql", "sqlite"] = _supported(parsed.get_backend_name())
            if self.dialect == "sqlite":
                _require_file(parsed)
            self.engine = make_engine(url, self.dialect)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
            if type(error) is ValueError:  # its message may hold a part of the password
                error = ArgumentError("it cannot be parsed; write special characters of the password as %XX")
            raise InputError(
                f"PREBUILD_DATABASE_URL={masked_url(url)} cannot be used: {error}",
                hint="use sqlite:///path/file.db, or postgresql://user@host/name and install the extra [postgres]",
            ) from None
        self._clock = clock if clock is not None else (utcnow if self.dialect == "sqlite" else None)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for short reads. On PostgreSQL each statement sees what is committed when it runs."""
        with self._transaction() as connection:
            yield connection

    def run(self, statement: str, values: Mapping[str, object]) -> Sequence[object] | None:
        """Execute one statement as a transaction and return its row, or None. PostgreSQL only. Raises like `write`."""
        with self._translated():
            connection = raw_connection(self.engine)
            try:
                return run_by_driver(connection, statement, values).fetchone()
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
            self._translated(),
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
        """Migrate to the newest revision and return the applied revisions. May be run again, and concurrently."""
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
        """Raise InputError unless this release can work on the database as it is.

        The database must have every column that this release needs. A newer database serves it, too: migrations only
        add. One that removes something, a release later, sets the lowest revision that the database still serves.
        """
        current, head = self.revision(), self.head()
        if (current or "") < head:
            raise InputError(
                f"the database {masked_url(self.url)} is at schema {current or 'none'}, but this release needs {head}",
                remedy=Remedy(RemedyKind.UPGRADE_SCHEMA),
            )
        if head < (lowest := self.serves_from()):
            raise InputError(
                f"this release (schema {head}) is too old for the database {masked_url(self.url)}, "
                f"which needs {lowest} or later",
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
            raise _unusable_value(error) from error
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
            message = str(original)
            if "locked" in message:
                return BusyError("another process held the database file for too long")
            if "unable to open" in message or "readonly" in message or "disk I/O" in message or "full" in message:
                return self._unreachable(message)
            if "no such table" in message:
                return _no_schema()
            return _old_schema(message) if "no such column" in message or "has no column" in message else None
        if type(original).__name__ == "DataError" or (state or "").startswith("22"):
            return _unusable_value(original)
        if state == "42P01":
            return _no_schema()
        if state == "42703":
            return _old_schema(str(original))
        if state in _FORBIDDEN_STATES:
            return self._forbidden(str(original).strip().splitlines()[0])
        # 53: out of disk, memory or connections.
        lost = error.connection_invalidated or (state or "").startswith(("08", "57P0", "28", "3D", "53"))
        # By name, because the driver is optional; with base classes, because psycopg has subclasses, as for timeouts.
        kinds = {kind.__name__ for kind in type(original).__mro__}
        if lost or (state is None and kinds & {"OperationalError", "InterfaceError"}):
            return self._unreachable(str(original).strip().splitlines()[0] if str(original).strip() else "no answer")
        return None

    def _forbidden(self, message: str) -> InputError:
        return InputError(
            f"the user of the database {masked_url(self.url)} may not do this: {message}",
            hint="let it write to all tables, or name another user in PREBUILD_DATABASE_URL; "
            "a plan writes, too, and rolls back",
        )

    def _unreachable(self, message: str) -> UnreachableError:
        hint, remedy = _next_step(message, self.dialect)
        return UnreachableError(
            f"the database {masked_url(self.url)} could not be used: {message}",
            hint=hint,
            remedy=remedy,
        )


def alembic_config() -> Config:
    """Create Alembic's configuration, for code and for `alembic check`; there is no ini file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _unusable_value(error: object) -> InputError:
    line = str(error).strip().split("\n", maxsplit=1)[0][:200]
    return InputError(f"a value cannot be stored or compared: {line}", hint="use printable text and plain numbers")


def _no_schema() -> InputError:
    return InputError("the database has no prebuild tables yet", remedy=Remedy(RemedyKind.UPGRADE_SCHEMA))


def _old_schema(message: str) -> InputError:
    line = message.strip().split("\n", maxsplit=1)[0]
    return InputError(f"the database is older than this release: {line}", remedy=Remedy(RemedyKind.UPGRADE_SCHEMA))


_NEXT_STEPS = (
    (("password", "authentication failed", "role "), "correct the user and password in PREBUILD_DATABASE_URL"),
    (("disk is full", "No space left"), "make room on its disk"),
    (("too many clients", "connection slots"), "raise its max_connections, or run fewer workers"),
    (("readonly",), "let this user write to the file and its directory"),
)
"""Parts of a database's message, and the hint that belongs to them."""


def _next_step(message: str, dialect: str) -> tuple[str, Remedy | None]:
    for parts, hint in _NEXT_STEPS:
        if any(part in message for part in parts):
            return hint, None
    if dialect == "sqlite":
        return "", Remedy(RemedyKind.CREATE_DATABASE)
    if "does not exist" in message:
        return "", Remedy(RemedyKind.CREATE_DATABASE_ON_SERVER)
    return "start it, or point PREBUILD_DATABASE_URL at one that runs", None


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
        raise ArgumentError("a database in memory cannot be shared with workers and commands; name a file")


def _current(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()
