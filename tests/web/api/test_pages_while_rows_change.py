"""A row that lives throughout appears exactly once in the pages of a list, whatever else is inserted and deleted."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import Table, delete, insert, select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from tests.support.api import Api
from tests.support.builders import PRESET, declare, fill
from tests.support.pool_files import load_text

PLACES = 4
"""Different sort keys, so that several rows share one."""
places = st.integers(0, PLACES - 1)
changes = st.lists(st.one_of(st.tuples(st.just("insert"), places), st.tuples(st.just("delete"), st.integers(0, 9))))


@dataclass
class Rows:
    """The rows of a list that a test makes by copying one."""

    database: Database
    table: Table
    shown: str
    """The key of the list by which a row is told from others."""
    values: Callable[[int, int], dict[str, Any]]
    """The columns in which the copy of this number, at this place, differs."""
    name: str
    """The column of `shown`."""
    soft: bool = False
    """Whether a row that is deleted stays in the table."""
    made: int = 0
    living: list[str] = field(default_factory=list)

    def insert(self, place: int) -> str:
        self.made += 1
        with self.database.write() as connection:
            row = dict(connection.execute(select(self.table).limit(1).order_by(self.table.c.created_at)).one()._mapping)
            row |= self.values(self.made, place)
            connection.execute(insert(self.table).values({key: value for key, value in row.items() if value != ()}))
        self.living.append(str(row[self.name]))
        return self.living[-1]

    def delete(self, number: int) -> str:
        if not self.living:
            return ""
        gone = self.living.pop(number % len(self.living))
        where = self.table.c[self.name] == gone
        with self.database.write() as connection:
            if self.soft:
                connection.execute(update(self.table).where(where).values(deleted_at=self.database.now(connection)))
            else:
                connection.execute(delete(self.table).where(where))
        return gone


def rows_of(path: str, database: Database) -> Rows:
    """Make a list's rows. The first one was made by the service, and is copied."""
    with database.read() as connection:
        now = database.now(connection)

    def at(place: int) -> Any:
        return now + timedelta(microseconds=place)

    if path == "/v1/workspaces":
        return Rows(
            database, m.Workspace.__table__, "workspace",
            lambda number, place: {"id": str(uuid.uuid4()), "name": f"row-{number}", "created_at": at(place)},
            "name", soft=True,
        )  # fmt: skip
    return Rows(
        database, m.Build.__table__, "build",
        lambda number, place: {"id": str(uuid.uuid4()), "number": 100 + number, "created_at": at(place)}, "id",
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/workspaces", "/v1/builds"])
def test_a_row_that_lives_throughout_appears_once(api: Api, database: Database, settings: Settings, path: str) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    claim(database, ClaimRequest(owner="ada", presets=[PRESET], name="hers"))

    @examples(max_examples=12, derandomize=True, deadline=None)
    @given(
        first=st.lists(places, min_size=1, max_size=8), limit=st.integers(1, 3), between=st.lists(changes, max_size=4)
    )
    def walk(first: list[int], limit: int, between: list[list[tuple[str, int]]]) -> None:
        rows = rows_of(path, database)
        throughout = {rows.insert(place) for place in first}
        seen: list[str] = []
        cursor, left = "", list(between)
        while cursor is not None:
            query = {"limit": str(limit), **({"cursor": cursor} if cursor else {})}
            page = api.get(path, params=query).json()
            seen += [row[rows.shown] for row in page["items"]]
            cursor = page["next"]
            for action, number in left.pop(0) if left else ():
                if action == "insert":
                    rows.insert(number)
                else:
                    throughout.discard(rows.delete(number))
        assert len(seen) == len(set(seen))
        assert throughout <= set(seen)
        while rows.living:
            rows.delete(0)

    walk()


def test_pools_are_read_by_name(api: Api, database: Database, settings: Settings) -> None:
    """Pools come and go with pools files; their order is that of their names."""
    names = [f"p{number:02}" for number in range(0, 20, 2)]
    declare_named(database, settings, names)
    first = api.get("/v1/pools", params={"limit": "4"}).json()
    declare_named(database, settings, [name for name in names if name != "p02"] + ["p01", "p15"])
    rest = api.get("/v1/pools", params={"limit": "500", "cursor": first["next"]}).json()
    seen = [row["preset"] for row in first["items"] + rest["items"]]
    assert seen == [f"dev/{name}" for name in sorted([*names, "p15"])]


def declare_named(database: Database, settings: Settings, names: list[str]) -> None:
    presets = ", ".join(f"{{name: {name}, desired: 0}}" for name in names)
    text = f"schema: 1\ntemplates: [{{name: dev, config: {{start: 'true'}}, presets: [{presets}]}}]"
    apply(database, settings, load_text(text), ApplyOptions(actor="test", yes=True))


FILTERS = {
    "/v1/workspaces": ({"owner": "prebuilds"}, {"owner": "ada"}, {"preset": PRESET}, {"state": "ready"}),
    "/v1/builds": ({"status": "succeeded"}, {"status": "failed"}, {"preset": PRESET}),
}


@pytest.mark.parametrize("path", FILTERS)
def test_a_cursor_is_for_its_filters(api: Api, database: Database, settings: Settings, path: str) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    own, *others = FILTERS[path]
    cursor = api.get(path, params={"limit": "1", **own}).json()["next"]
    assert api.get(path, params={"cursor": cursor, **own}).status_code == 200
    other_list = "/v1/pools" if path == "/v1/builds" else "/v1/builds"
    refused = [api.get(path, params={"cursor": cursor, **other}) for other in ({}, *others, {**own, **others[-1]})]
    refused += [api.get(other_list, params={"cursor": cursor}), api.get(path, params={"cursor": cursor[:-2], **own})]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(400, "malformed_cursor")}
