"""Inserts and updates of many rows in one statement each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, insert, update

from prebuild_tasks.db.base import Base
from prebuild_tasks.errors import RefusedError


def insert_rows(
    connection: Connection, table: type[Base], rows: Sequence[Mapping[str, object]], *key: str
) -> Sequence[int]:
    """Insert rows and return their ids in the same order. `key` names columns with unique values.

    The database returns rows in any order. To get them sorted, SQLAlchemy would send each row separately to SQLite.
    """
    if not rows:
        return []
    columns = table.__table__.c
    query = insert(table).returning(columns.id, *(columns[name] for name in key))
    inserted = connection.execute(query, list(rows)).mappings()
    ids = {tuple(row[name] for name in key): row["id"] for row in inserted}
    return [ids[tuple(row[name] for name in key)] for row in rows]


def update_rows(connection: Connection, table: type[Base], rows: Sequence[tuple[int, Mapping[str, object]]]) -> None:
    """Update rows by id. All rows change the same columns. Raises RefusedError if a row no longer exists.

    The rows are locked in the order given, because only the holder of the declaration lock changes several of them.
    """
    if not rows:
        return
    columns = rows[0][1].keys()
    statement = (
        update(table)
        .where(table.__table__.c.id == bindparam("of"))
        .values({key: bindparam(f"to_{key}") for key in columns})
    )
    values = [{"of": row_id, **{f"to_{key}": value for key, value in row.items()}} for row_id, row in rows]
    if connection.execute(statement, values).rowcount != len(rows):
        raise RefusedError("the declared configuration changed meanwhile", hint="apply it again")
