"""Rows are read by the names of their columns, wherever these stand."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import literal, select

from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.rows import records, values_by_name


class Pair(NamedTuple):
    three: int
    two: str


def test_values_follow_the_names_and_not_the_columns(database: Database) -> None:
    query = select(literal(1).label("one"), literal("b").label("two"), literal(3).label("three"))
    with database.read() as connection:
        rows = connection.execute(query).all()
    assert list(values_by_name(rows, ("three", "two"))) == [(3, "b")]
    assert list(values_by_name([], ("three", "two"))) == []
    assert list(records(Pair, rows)) == [Pair(three=3, two="b")]
    assert list(records(Pair, [])) == []
