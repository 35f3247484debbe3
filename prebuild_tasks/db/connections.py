"""Engines and connections: creation, and execution by the driver alone."""

from __future__ import annotations

import json
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast

from sqlalchemy import Compiled, Connection, Dialect, Engine, Row, Select, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.types import TypeEngine

from prebuild_tasks.db.drivers import SQLITE_BUSY_MS, connect_arguments, prepare_sqlite
from prebuild_tasks.db.sessions import BEGIN, WRITE, Driver, PooledSessions, Sessions, end_lost_connection

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
    @property
    def rowcount(self) -> int: ...


def sqlite_engine(url: str) -> Engine:
    """Create the engine of a SQLite database. Raises ArgumentError for a bad URL."""
    engine = create_engine(url, pool_size=10, max_overflow=20, connect_args={"timeout": SQLITE_BUSY_MS / 1000})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
        prepare_sqlite(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # IMMEDIATE: a deferred transaction that starts to write can fail at once with "database is locked".
        writes = connection.get_execution_options().get(BEGIN) == WRITE
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def postgresql_engine(url: str, *, pooled: bool) -> tuple[Engine, Sessions]:
    """Create the engine of a PostgreSQL database. Raises ArgumentError or ModuleNotFoundError for a bad URL.

    `pooled` says that a pooler in transaction mode is in between.
    """
    parsed = make_url(url)
    arguments = connect_arguments(parsed.query, several_hosts=_has_several_hosts(parsed), pooled=pooled)
    engine = create_engine(
        parsed,
        pool_size=_POOL_SIZE,
        max_overflow=0,
        pool_timeout=10,
        pool_use_lifo=True,
        isolation_level="AUTOCOMMIT",
        # Escaped letters in JSON are refused by a database that is not in UTF-8.
        json_serializer=partial(json.dumps, ensure_ascii=False),
        connect_args=arguments,
    )
    sessions = PooledSessions(engine) if pooled else Sessions(engine)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if begin := sessions.begin_statement(connection):
            run_by_driver(connection.connection, begin)

    return engine, sessions


def _has_several_hosts(url: URL) -> bool:
    host = url.query.get("host", "")
    return len(host) > 1 if isinstance(host, tuple) else "," in host


def raw_connection(engine: Engine) -> PoolProxiedConnection:
    """Take a connection from the pool for `run_by_driver`. Raises SQLAlchemy's errors instead of the driver's."""
    try:
        return engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as error:
        raise connection_error(engine, error) from error


def connection_error(engine: Engine, error: Exception) -> DBAPIError:
    """Return SQLAlchemy's error for one of the driver, which could not connect."""
    kind = engine.dialect.loaded_dbapi.Error
    wrapped = DBAPIError.instance(None, None, error, kind, connection_invalidated=True)
    return wrapped if isinstance(wrapped, DBAPIError) else DBAPIError(None, None, error, connection_invalidated=True)


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
    driver = cast("Driver", connection.driver_connection)
    try:
        return cast("_Cursor", driver.execute(statement, values))
    except driver.Error as error:
        lost = end_lost_connection(connection, error)
        raise DBAPIError.instance(
            statement, dict(values or {}), error, driver.Error, connection_invalidated=lost
        ) from error


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
