"""Column types and SQL expressions that mean the same on PostgreSQL and SQLite."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Connection, DateTime, Dialect, Double, Enum, TypeDecorator
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC: `timestamptz` on PostgreSQL, microseconds since 1970 on SQLite, which has no such type.

    Raises ValueError for a naive value, which would mean a different instant on every machine.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | int | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime: give the datetime a time zone, as the database stores aware ones only")
        return (value - _EPOCH) // _MICROSECOND if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: datetime | int | None, dialect: Dialect) -> datetime | None:
        if isinstance(value, datetime):
            return value if value.tzinfo is UTC else value.astimezone(UTC)
        return None if value is None else _EPOCH + timedelta(microseconds=int(value))


class age_seconds(FunctionElement[float]):  # noqa: N801 - reads as a SQL function
    """`age_seconds(later, earlier)`: the difference in seconds, exact to the microsecond."""

    type = Double()
    inherit_cache = True
    name = "age_seconds"


@compiles(age_seconds, "postgresql")
def _age_postgresql(element: age_seconds, compiler: SQLCompiler, **kw: object) -> str:
    later, earlier = (compiler.process(clause, **kw) for clause in element.clauses)
    # date_part returns a double; EXTRACT returns a numeric, which takes three times as long. Both are exact to 1 µs.
    return f"date_part('epoch', {later} - {earlier})"


@compiles(age_seconds, "sqlite")
def _age_sqlite(element: age_seconds, compiler: SQLCompiler, **kw: object) -> str:
    later, earlier = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"(({later} - {earlier}) / 1000000.0)"


class bucket_of(FunctionElement[int]):  # noqa: N801 - reads as a SQL function
    """`bucket_of(at, literal_column(seconds))`: number of whole intervals of `seconds` between 1970 and `at`."""

    type = BigInteger()
    inherit_cache = True
    name = "bucket_of"


@compiles(bucket_of, "postgresql")
def _bucket_postgresql(element: bucket_of, compiler: SQLCompiler, **kw: object) -> str:
    at, seconds = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"CAST(FLOOR(EXTRACT(EPOCH FROM {at}) / {seconds}) AS BIGINT)"


@compiles(bucket_of, "sqlite")
def _bucket_sqlite(element: bucket_of, compiler: SQLCompiler, **kw: object) -> str:
    at, seconds = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({at} / ({seconds} * 1000000))"


class db_now(FunctionElement[datetime]):  # noqa: N801 - reads as a SQL function
    """The database's clock when the statement runs, not when the transaction began. PostgreSQL only."""

    type = UtcDateTime()
    inherit_cache = True
    name = "db_now"


@compiles(db_now, "postgresql")
def _now_postgresql(_element: db_now, _compiler: SQLCompiler, **_kw: Any) -> str:
    return "clock_timestamp()"


def conflict_insert(connection: Connection, table: type[DeclarativeBase]) -> postgresql.Insert | sqlite.Insert:
    """Create an insert that supports ON CONFLICT, for the dialect of the connection."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def stored_enum(kind: type[StrEnum]) -> Enum:
    """Create a type that stores an enum's value as text, readable in SQL and checked by the schema."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=True,
        length=20,
        name=kind.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
    )
