"""How connections are made, limited, and looked at before they are used again."""

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
"""A row somebody else holds for longer counts as held: the tick comes back to it."""
IDLE_IN_TRANSACTION_MS = 30_000
"""A paused process must not keep its row locks for ever."""
SQLITE_BUSY_MS = 15_000
PING_AFTER = 5.0
"""Seconds since its last use after which a connection is asked whether it still leads anywhere: a route that was
dropped in silence shows in no other way."""

BEGIN = "prebuild_begin"
"""The execution option that names the kind of a transaction: WRITE or SNAPSHOT; without it, short reads."""
WRITE, SNAPSHOT = "write", "snapshot"
_POSTGRESQL_BEGIN = {WRITE: "BEGIN", SNAPSHOT: "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"}
_POOL_SIZE = 30
"""Opened when needed, and kept: one more than are kept would be opened anew for every use."""


class _Column(Protocol):
    """What psycopg tells of a column of an answer."""

    type_code: int


class _Cursor(Protocol):
    """What is used of psycopg's cursor."""

    @property
    def description(self) -> Sequence[_Column]: ...
    def fetchone(self) -> Sequence[object] | None: ...
    def fetchall(self) -> Sequence[Sequence[object]]: ...


class _Driver(Protocol):
    """What is used of psycopg's connection; the package is optional."""

    Error: type[Exception]
    closed: bool
    broken: bool

    def execute(self, words: str, values: Mapping[str, object] | None = None, /) -> _Cursor: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


def make_engine(url: str, dialect: str) -> Engine:
    """The engine with its pool. Raises ArgumentError, NoSuchModuleError and ModuleNotFoundError for a bad URL."""
    if dialect == "postgresql":
        return _postgresql(url)
    engine = create_engine(url, pool_size=10, max_overflow=20, connect_args={"timeout": SQLITE_BUSY_MS / 1000})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: the driver's own way let 42 of 1,600 claims double
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={SQLITE_BUSY_MS}", "foreign_keys=ON"):
            # FULL: an answered claim stays claimed even when the machine loses power.
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # IMMEDIATE: a deferred transaction that turns to writing fails at once with "database is locked".
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
        isolation_level="AUTOCOMMIT",  # of the driver: a transaction begins when we say so
        connect_args={"connect_timeout": 5, "application_name": "prebuild_tasks"},
    )

    @event.listens_for(engine, "connect")
    def _session_limits(connection: _Driver, _record: ConnectionPoolEntry) -> None:
        # After connecting, not as start-up options, which connection poolers refuse.
        try:
            connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
            connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS}")
            connection.execute("SET TIME ZONE 'UTC'")
        except Exception:
            connection.close()  # the pool has not got it yet, so nobody else would
            raise

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Ours to say, as on SQLite: at READ COMMITTED a transaction changes nothing for what is only read, and a BEGIN
        # and a COMMIT are two round trips.
        if begin := _POSTGRESQL_BEGIN.get(connection.get_execution_options().get(BEGIN, "")):
            run_by_driver(connection.connection, begin)

    @event.listens_for(engine, "checkout")
    def _look_before_use(connection: _Driver, record: ConnectionPoolEntry, _fairy: PoolProxiedConnection) -> None:
        # A ping for each use would be a fifth of a claim's time. A server that has gone has closed its end, which the
        # socket shows without asking anybody.
        now, used = monotonic(), record.info.get("used_at")
        record.info["used_at"] = now
        if used is None or (now - used < PING_AFTER and not _has_news(connection)):
            return
        try:
            engine.dialect.do_ping(cast("DBAPIConnection", connection))
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    return engine


def raw_connection(engine: Engine) -> PoolProxiedConnection:
    """A connection for `run_by_driver`. Raises SQLAlchemy's errors, where the pool passes on the driver's own."""
    try:
        return engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as error:
        kind = engine.dialect.loaded_dbapi.Error
        raise DBAPIError.instance(None, None, error, kind, connection_invalidated=True) from error


def one_line(compiled: Compiled) -> str:
    """A statement's words for `run_by_driver`: what is longer than 4,096 characters, psycopg reads anew each time."""
    return " ".join(str(compiled).split())


def run_by_driver(connection: PoolProxiedConnection, words: str, values: Mapping[str, object] | None = None) -> _Cursor:
    """Execute with psycopg alone; its cursor. Raises SQLAlchemy's errors, and lets a lost connection go.

    For what is asked for most: SQLAlchemy's part of an execution takes longer than the driver's and the server's.
    """
    driver = cast("_Driver", connection.driver_connection)
    try:
        return driver.execute(words, values)
    except driver.Error as error:
        lost = driver.closed or driver.broken
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            words, dict(values or {}), error, driver.Error, connection_invalidated=lost
        ) from error


def _has_news(connection: _Driver) -> bool:
    """Whether an idle connection's socket can be read: the other end closed it, or said why it is going to."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


_Convert = Callable[[Any], Any]


class PreparedQuery:
    """A SELECT, built and compiled once. On PostgreSQL psycopg alone executes it; values and rows are as ever.

    Every column needs a name of its own, and an `in_` takes columns and words, no list of values. Listeners of
    `before_cursor_execute` get it like any other statement.
    """

    def __init__(self, query: Select[*tuple[Any, ...]]) -> None:
        self._query = query
        self._columns = query.selected_columns.values()
        made = namedtuple("Row", [str(column.key) for column in self._columns])  # type: ignore[misc]  # noqa: PYI024 - known here alone
        # Read by name and in order, as rows of SQLAlchemy are.
        self._row = cast("Callable[[Iterable[object]], Row[*tuple[Any, ...]]]", made._make)
        self._words = ""
        self._constants: dict[str, object] = {}
        self._given: dict[str, _Convert | None] = {}
        self._converted: list[tuple[int, _Convert]] | None = None

    def rows(self, connection: Connection, values: Mapping[str, object]) -> Sequence[Row[*tuple[Any, ...]]]:
        """All rows, by name and in order. Raises as an execution by SQLAlchemy does."""
        if connection.dialect.name != "postgresql":
            return connection.execute(self._query, values).all()
        if not self._words:
            self._compile(connection.dialect)
        given = dict(self._constants)
        for name, convert in self._given.items():
            given[name] = convert(values[name]) if convert else values[name]
        for listener in connection.dispatch.before_cursor_execute:
            listener(connection, None, self._words, given, None, False)  # noqa: FBT003 - SQLAlchemy's order
        cursor = run_by_driver(connection.connection, self._words, given)
        if self._converted is None:
            codes = [column.type_code for column in cursor.description]
            self._converted = list(self._conversions(connection.dialect, codes))
        return [self._made(values) for values in cursor.fetchall()]

    def _made(self, values: Sequence[object]) -> Row[*tuple[Any, ...]]:
        found = list(values)
        for place, convert in self._converted or ():
            found[place] = convert(found[place])
        return self._row(found)

    def _compile(self, dialect: Dialect) -> None:
        compiled = self._query.compile(dialect=dialect)
        for name, bind in compiled.binds.items():
            convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if bind.required:
                self._given[name] = convert
            else:
                self._constants[name] = convert(bind.effective_value) if convert else bind.effective_value
        self._words = one_line(compiled)

    def _conversions(self, dialect: Dialect, codes: Sequence[int]) -> Iterator[tuple[int, _Convert]]:
        for place, (column, code) in enumerate(zip(self._columns, codes, strict=True)):
            kind: TypeEngine[Any] = column.type
            if convert := kind.dialect_impl(dialect).result_processor(dialect, code):
                yield place, convert
