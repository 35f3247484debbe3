"""The base class of the tables, with shared column types, indexes and conditions."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Index,
    Integer,
    MetaData,
    Uuid,
    any_,
    literal,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

from prebuild_tasks.db.types import UtcDateTime, stored_enum
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus, Transition

UuidText = Uuid(as_uuid=False)
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
AutoId = BigInteger().with_variant(Integer(), "sqlite")
"""An automatic row number. SQLite numbers rows only in an INTEGER column."""
ERROR_LENGTH = 2000
"""Maximum number of characters stored of an error."""


class Base(DeclarativeBase):
    """Base class of the tables: names of constraints, and column types by annotation."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own protocol
        datetime: UtcDateTime(),
        dict[str, object]: Json,
        list[str]: Json,
        Transition: stored_enum(Transition),
        BuildStatus: stored_enum(BuildStatus),
        PresetStatus: stored_enum(PresetStatus),
    }


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """Create an index of the rows that fulfil `where`, a condition in SQL that both databases understand."""
    return Index(name, *columns, unique=unique, postgresql_where=text(where), sqlite_where=text(where))


def is_one_of(connection: Connection, column: Any, ids: Collection[str]) -> ColumnElement[bool]:
    """Build the condition that the column has one of these ids.

    On PostgreSQL they are one parameter: converting a hundred parameters takes longer than writing a hundred rows.
    """
    if connection.dialect.name != "postgresql":
        return cast("ColumnElement[bool]", column.in_(list(ids)))
    return cast("ColumnElement[bool]", column == any_(literal(list(ids), ARRAY(UuidText))))
