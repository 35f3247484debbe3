"""Hits of a serving process need no thread, and write and answer what every claim does; the rest is left to `claim`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from sqlalchemy import select

from prebuild_tasks import clock
from prebuild_tasks.access.types import Reach
from prebuild_tasks.claims import async_hits
from prebuild_tasks.claims.async_hits import AsyncHits, hits_of
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import Claimed, ClaimRequest
from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError, InputError, OwnerNotAllowedError
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill, workspaces
from tests.support.encodings import administered
from tests.support.wait import wait_until

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

T = TypeVar("T")
WRITTEN = (m.ClaimEvent, m.BoundRequest, m.History, m.Build)


def with_hits(database: Database, work: Callable[[AsyncHits], Awaitable[T]], *, number: int = 2) -> T:
    async def run() -> T:
        hits = hits_of(database, number, 0.1)
        assert hits is not None
        try:
            return await work(hits)
        finally:
            await hits.close()

    return asyncio.run(run())


async def take(hits: AsyncHits, owner: str = "ada", **request: Any) -> Claimed | None:
    asked = ClaimRequest(owner=owner, presets=request.pop("presets", [PRESET]), **request)
    return await hits.claim(asked, max_builds_in_flight=0, alive_within=30.0)


def rows_of(database: Database, workspace_id: str) -> list[dict[str, object]]:
    """Return what a claim has written of a workspace, without ids and instants."""
    rows: list[dict[str, object]] = []
    with database.read() as connection:
        for table in (*WRITTEN, m.Workspace):
            column = m.Workspace.id if table is m.Workspace else table.workspace_id
            query = select(table.__table__).where(column == workspace_id)
            if table in (m.History, m.Build):
                query = query.where(table.reason == "claim")
            rows += [dict(row._mapping) for row in connection.execute(query)]
    own = {
        "id", "workspace_id", "name", "owner", "request_id", "key", "latency_ms", "body_digest", "initiator", "actor",
        "actor_name", "actor_subject", "directory", "resource_id", "url", "workspace",
    }  # fmt: skip
    return [
        {name: value for name, value in row.items() if name not in own and not isinstance(value, datetime)}
        for row in rows
    ]


def test_a_hit_writes_and_answers_what_every_claim_does(database: Database, settings: Settings) -> None:
    declare(database, settings, 2, config="claim: 'true'", extra="claimed_ttl: 1h")
    fill(database, settings)
    usual = claim(database, ClaimRequest(owner="bob", presets=[PRESET], principal="portal"))
    hit = with_hits(database, lambda hits: take(hits, principal="portal"))
    assert isinstance(usual, Claimed)
    assert hit is not None
    assert hit.answer.owner == "ada"
    assert hit.answer.claimed_until is not None
    assert hit.answer.to_json().keys() == usual.answer.to_json().keys()
    assert len(hit.follow_up.builds) == len(usual.follow_up.builds) == 1
    assert hit.follow_up.wake == usual.follow_up.wake
    assert rows_of(database, hit.answer.workspace_id) == rows_of(database, usual.answer.workspace_id)


@pytest.mark.parametrize(
    ("request_of", "claimed"),
    [
        ({}, True),
        ({"presets": [PRESET + "@none"]}, False),
        ({"presets": ["1"]}, False),
        ({"presets": [], "template": "t"}, False),
        ({"repeated": True}, False),
        ({"reach": Reach(organization="default")}, True),
        ({"reach": Reach(organization="other")}, False),
        ({"reach": Reach(presets=(PRESET,))}, True),
        ({"reach": Reach(presets=("another/one",))}, False),
        ({"request_id": "known"}, False),
        ({"name": "taken"}, False),
        ({"name": "free"}, True),
    ],
)
def test_all_but_a_plain_hit_is_left_to_the_usual_way(
    database: Database, settings: Settings, request_of: dict[str, Any], claimed: bool
) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    claim(database, ClaimRequest(owner="ada", presets=[PRESET], request_id="known", name="taken"))
    hit = with_hits(database, lambda hits: take(hits, **request_of))
    assert (hit is not None) is claimed
    assert len(workspaces(database, m.Workspace.owner == "ada")) == 1 + claimed


def test_a_malformed_request_and_a_foreign_owner_are_refused(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    with pytest.raises(InputError):
        with_hits(database, lambda hits: take(hits, owner="prebuilds"))
    with pytest.raises(OwnerNotAllowedError):
        with_hits(database, lambda hits: take(hits, reach=Reach(owner="bob")))


def test_claims_of_one_owner_at_once_keep_the_limit(database: Database, settings: Settings) -> None:
    declare(database, settings, 6, organizations="[{name: default, max_per_owner: 2}]")
    fill(database, settings)

    async def all_at_once(hits: AsyncHits) -> list[Claimed | None]:
        return await asyncio.gather(*(take(hits) for _ in range(5)))

    answers = with_hits(database, all_at_once, number=5)
    assert len([answer for answer in answers if answer]) == 2
    assert len(workspaces(database, m.Workspace.owner == "ada")) == 2


def test_a_connection_that_the_server_ended_costs_no_claim(
    database_url: str, database: Database, settings: Settings
) -> None:
    declare(database, settings, 3)
    fill(database, settings)

    async def cut_between(hits: AsyncHits) -> list[Claimed | None]:
        first = await take(hits)
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with administered(database_url) as connection:
            connection.execute(f"SELECT pg_terminate_backend(pid) {others}".encode())
            count = f"SELECT count(*) {others}".encode()
            wait_until(lambda: connection.execute(count).fetchone() == (0,), what="the end of the other sessions")
        return [first, await take(hits), await take(hits)]

    assert all(with_hits(database, cut_between))


def test_after_a_failed_connection_claims_go_the_usual_way_for_a_moment(
    database_url: str, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(database, settings, 2)
    fill(database, settings)

    later = [0.0]
    monkeypatch.setattr(async_hits, "monotonic", lambda: clock.monotonic() + later[0])

    async def refused(hits: AsyncHits) -> list[Claimed | None]:
        with administered(database_url) as connection:
            name = connection.info.dbname
        with psycopg.connect(database_url.replace("+psycopg", ""), dbname="postgres", autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
            first = await take(hits)
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
        resting = await take(hits)
        later[0] = 2.0
        return [first, resting, await take(hits)]

    assert [answer is not None for answer in with_hits(database, refused)] == [False, False, True]


def test_who_waits_too_long_for_a_connection_is_told_so(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)

    async def held(hits: AsyncHits) -> tuple[int, int]:
        released = asyncio.Event()

        async def hold(_connection: psycopg.AsyncConnection[Any]) -> None:
            await released.wait()

        holder = asyncio.create_task(hits.connections.use(hold))
        while not hits.connections.in_use:
            await asyncio.sleep(0)
        waiting = asyncio.create_task(take(hits))
        while not hits.connections.waiting:
            await asyncio.sleep(0)
        with pytest.raises(BusyError, match="all 1 connections"):
            await waiting
        released.set()
        await holder
        assert await take(hits)
        return hits.connections.in_use, hits.connections.waiting

    assert with_hits(database, held, number=1) == (0, 0)


def test_an_error_of_a_statement_closes_no_connection(database: Database) -> None:
    async def failing(hits: AsyncHits) -> list[int]:
        async def fail(connection: psycopg.AsyncConnection[Any]) -> None:
            await connection.execute("SELECT 1 / 0")

        async def ask(connection: psycopg.AsyncConnection[Any]) -> int:
            return connection.info.backend_pid

        before = await hits.connections.use(ask)
        with pytest.raises(psycopg.Error):
            await hits.connections.use(fail)
        return [before, await hits.connections.use(ask)]

    before, after = with_hits(database, failing, number=1)
    assert before == after


def test_only_a_plain_postgresql_has_them(database: Database, database_url: str, tmp_path: Path) -> None:
    assert hits_of(database, 1, 1.0) is not None
    assert hits_of(database, 0, 1.0) is None
    for other in (Database(database_url, pooler="transaction"), Database(f"sqlite:///{tmp_path}/none.db")):
        assert hits_of(other, 1, 1.0) is None
        other.close()


def test_a_frozen_clock_holds_for_them(database_url: str, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    at = utcnow()
    frozen = Database(database_url, lambda: at)
    hit = with_hits(frozen, take)
    frozen.close()
    assert hit is not None
    assert hit.answer.claimed_at == at
