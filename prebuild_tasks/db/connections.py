"""Engines and connections: creation, timeouts, checks before use, and execution by the driver alone."""

from __future__ import annotations

import select
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from sqlalchemy import Compiled, Connection, Dialect, Engine, Row, Select, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.types import TypeEngine

from prebuild_tasks.clock import monotonic

LOCK_TIMEOUT_MS = 2000
"""Milliseconds that a statement waits for a row lock of another process; a later tick tries again."""
IDLE_IN_TRANSACTION_MS = 30_000
"""Milliseconds after which PostgreSQL ends an idle transaction, so that a frozen process does not keep its locks."""
SQLITE_BUSY_MS = 15_000
"""Milliseconds that SQLite waits for the database file."""
PING_AFTER = 5.0
"""Seconds without use after which a connection is pinged first: only a ping notices a silently dropped route."""

BEGIN = "prebuild_begin"
"""Execution option that names the kind of transaction: WRITE or SNAPSHOT. Without it: short reads."""
WRITE, SNAPSHOT = "write", "snapshot"
_POSTGRESQL_BEGIN = {WRITE: "BEGIN", SNAPSHOT: "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"}
_POOL_SIZE = 30
"""Connections that are opened when needed, and kept. There is no overflow, which would reconnect for every use."""


class _Column(Protocol):
    """The part of psycopg's column description that is used."""

    type_code: int


class _Cursor(Protocol):
    """The part of psycopg's cursor that is used."""

    @property
    def description(self) -> Sequence[_Column]: ...
    def fetchone(self) -> Sequence[object] | None: ...
    def fetchall(self) -> Sequence[Sequence[object]]: ...


class _Driver(Protocol):
    """The part of psycopg's connection that is used; the package is optional."""

    Error: type[Exception]
    closed: bool
    broken: bool

    def execute(self, statement: str, values: Mapping[str, object] | None = None, /) -> _Cursor: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


def make_engine(url: str, dialect: str) -> Engine:
    """Create the engine with its pool. Raises ArgumentError, NoSuchModuleError or ModuleNotFoundError for a bad URL."""
    if dialect == "postgresql":
        return _postgresql(url)
    engine = create_engine(url, pool_size=10, max_overflow=20, connect_args={"timeout": SQLITE_BUSY_MS / 1000})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we send BEGIN ourselves: with the driver's, 42 of 1,600 claims were double
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={SQLITE_BUSY_MS}", "foreign_keys=ON"):
            # FULL: an answered claim survives a power failure.
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # IMMEDIATE: a deferred transaction that starts to write can fail at once with "database is locked".
        writes = connection.get_execution_options().get(BEGIN) == WRITE
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: str) -> Engine:
    engine = create_engine(
        url,
        pool_size=_POOL_SIZE,
        max_overflow=0,
        pool_timeout=10,
        pool_use_lifo=True,
        isolation_level="AUTOCOMMIT",  # of the driver: we send BEGIN ourselves
        connect_args={"connect_timeout": 5, "application_name": "prebuild_tasks"},
    )

    @event.listens_for(engine, "connect")
    def _session_limits(connection: _Driver, _record: ConnectionPoolEntry) -> None:
        # Set after connecting: connection poolers refuse them as start-up options.
        try:
            connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
            connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS}")
            connection.execute("SET TIME ZONE 'UTC'")
        except Exception:
            connection.close()  # the pool does not know the connection yet, so it would stay open
            raise

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Reads need no transaction: at READ COMMITTED it would change nothing, and cost two round trips.
        if begin := _POSTGRESQL_BEGIN.get(connection.get_execution_options().get(BEGIN, "")):
            run_by_driver(connection.connection, begin)

    @event.listens_for(engine, "checkout")
    def _check_before_use(connection: _Driver, record: ConnectionPoolEntry, _fairy: PoolProxiedConnection) -> None:
        # A ping for each use would take a fifth of a claim's time. A server that went away has closed its end, which
        # the socket shows without a round trip.
        now, used = monotonic(), record.info.get("used_at")
        record.info["used_at"] = now
        if used is None or (now - used < PING_AFTER and not _is_readable(connection)):
            return
        try:
            engine.dialect.do_ping(cast("DBAPIConnection", connection))
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    return engine


def raw_connection(engine: Engine) -> PoolProxiedConnection:
    """Take a connection from the pool for `run_by_driver`. Raises SQLAlchemy's errors instead of the driver's."""
    try:
        return engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as error:
        kind = engine.dialect.loaded_dbapi.Error
        raise DBAPIError.instance(None, None, error, kind, connection_invalidated=True) from error


def one_line(compiled: Compiled) -> str:
    """Return a statement in one line. psycopg caches the parsed form only of statements up to 4,096 characters."""
    return " ".join(str(compiled).split())


def run_by_driver(
    connection: PoolProxiedConnection, statement: str, values: Mapping[str, object] | None = None
) -> _Cursor:
    """Execute a statement with psycopg alone and return its cursor. Raises SQLAlchemy's errors.

    A lost connection is invalidated. Meant for the most frequent statements: SQLAlchemy's part of an execution takes
    longer than the driver's and the server's together.
    """
    driver = cast("_Driver", connection.driver_connection)
    try:
        return driver.execute(statement, values)
    except driver.Error as error:
        lost = driver.closed or driver.broken
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, dict(values or {}), error, driver.Error, connection_invalidated=lost
        ) from error


def _is_readable(connection: _Driver) -> bool:
    """Return whether an idle connection's socket can be read, which means that the server closes or closed it."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


_Convert = Callable[[Any], Any]


class PreparedQuery:
    """A SELECT that is compiled once. On PostgreSQL psycopg alone executes it, with the same values and rows.

    Every column needs a unique name, and an `in_` may hold columns and constants, but not a list of values. Listeners
    of `before_cursor_execute` are called as for any other statement.
    """

    def __init__(self, query: Select[*tuple[Any, ...]]) -> None:
        self._query = query
        self._columns = query.selected_columns.values()
        made = namedtuple("Row", [str(column.key) for column in self._columns])  # type: ignore[misc]  # noqa: PYI024 - its fields are not known before
        # Readable by name and by position, as rows of SQLAlchemy are.
        self._row = cast("Callable[[Iterable[object]], Row[*tuple[Any, ...]]]", made._make)
        self._statement = ""
        self._constants: dict[str, object] = {}
        self._parameters: dict[str, _Convert | None] = {}
        self._converted: list[tuple[int, _Convert]] | None = None
        """Positions of the columns whose values are converted; None before the first execution."""

    def rows(self, connection: Connection, values: Mapping[str, object]) -> Sequence[Row[*tuple[Any, ...]]]:
        """Return all rows for the given values. Raises the same errors as an execution by SQLAlchemy."""
        if connection.dialect.name != "postgresql":
            return connection.execute(self._query, values).all()
        if not self._statement:
            self._compile(connection.dialect)
        parameters = dict(self._constants)
        for name, convert in self._parameters.items():
            parameters[name] = convert(values[name]) if convert else values[name]
        for listener in connection.dispatch.before_cursor_execute:
            listener(connection, None, self._statement, parameters, None, False)  # noqa: FBT003 - SQLAlchemy's order
        cursor = run_by_driver(connection.connection, self._statement, parameters)
        if self._converted is None:
            codes = [column.type_code for column in cursor.description]
            self._converted = list(self._conversions(connection.dialect, codes))
        return [self._to_row(values) for values in cursor.fetchall()]

    def _to_row(self, values: Sequence[object]) -> Row[*tuple[Any, ...]]:
        converted = list(values)
        for position, convert in self._converted or ():
            converted[position] = convert(converted[position])
        return self._row(converted)

    def _compile(self, dialect: Dialect) -> None:
        compiled = self._query.compile(dialect=dialect)
        for name, bind in compiled.binds.items():
            convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if bind.required:
                self._parameters[name] = convert
            else:
                self._constants[name] = convert(bind.effective_value) if convert else bind.effective_value
        self._statement = one_line(compiled)

    def _conversions(self, dialect: Dialect, codes: Sequence[int]) -> Iterator[tuple[int, _Convert]]:
        for position, (column, code) in enumerate(zip(self._columns, codes, strict=True)):
            kind: TypeEngine[Any] = column.type
            if convert := kind.dialect_impl(dialect).result_processor(dialect, code):
                yield position, convert
