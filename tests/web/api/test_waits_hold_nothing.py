"""Claims that wait hold no thread, no connection and no transaction: all of them can be more than there are threads."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import func, select, text

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.schema import tables as m
from prebuild_tasks.web.api.routes import claims as routes
from tests.support.api import Api
from tests.support.builders import PRESET, declare

NUMBER = 12
"""Three times the threads of the application."""


def test_who_waits_holds_no_thread_and_no_transaction(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    door = api.app.state.door

    def ask(number: int) -> Any:
        body = {"presets": [PRESET], "owner": f"o{number}", "wait": 50}
        return api.send("POST", "/v1/claims", json=body)

    async def work() -> tuple[bool, list[int]]:
        asking: list[asyncio.Task[Any]] = []
        for number in range(NUMBER):  # one after the other: none is told that another has the row
            asking.append(asyncio.create_task(ask(number)))
            async with asyncio.timeout(30):
                while await asyncio.to_thread(_reserved, database) <= number:
                    await asyncio.sleep(0.02)
        idle = await _seen_idle(api, database) and not any(one.done() for one in asking)
        door.stopping.set()
        return idle, [answer.status_code for answer in await asyncio.gather(*asking)]

    idle, statuses = api.run(work())
    assert idle
    assert statuses == [202] * NUMBER


def test_who_waits_with_nothing_reserved_claims_again_only_when_it_may_help(
    api: Api, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each used to make a whole claim after 1, 2, 4 s and so on."""
    declare(database, settings, 0)
    pause(database, PRESET, actor="op")
    door, tries = api.app.state.door, Counter[str]()

    def counted(database: Database, request: ClaimRequest, **options: Any) -> Any:
        tries[request.owner] += 1
        return claim(database, request, **options)

    monkeypatch.setattr(routes, "claim", counted)
    owners = [f"o{number}" for number in range(NUMBER)]

    async def work() -> tuple[bool, Counter[str], list[int]]:
        asking = [
            asyncio.create_task(api.send("POST", "/v1/claims", json={"presets": [PRESET], "owner": owner, "wait": 50}))
            for owner in owners
        ]
        ended_at = monotonic() + 30
        while len(tries) < NUMBER or monotonic() < ended_at - 27:  # longer than the first two of those pauses
            assert monotonic() < ended_at
            await asyncio.sleep(0.02)
        idle, before = await _seen_idle(api, database), Counter(tries)
        await asyncio.to_thread(resume, database, PRESET, actor="op")
        while await asyncio.to_thread(_reserved, database) < NUMBER:
            assert monotonic() < ended_at
            await asyncio.sleep(0.02)
        door.stopping.set()
        return idle, before, [answer.status_code for answer in await asyncio.gather(*asking)]

    idle, before, statuses = api.run(work())
    assert idle
    assert before == dict.fromkeys(owners, 1)
    assert tries == dict.fromkeys(owners, 2)
    assert statuses == [202] * NUMBER


def test_at_the_deadline_nobody_tries_in_vain(
    api: Api, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All who wait would do so at once, and keep others from the threads."""
    declare(database, settings, 0)
    pause(database, PRESET, actor="op")
    tries: list[bool] = []

    def counted(database: Database, request: ClaimRequest, **options: Any) -> Any:
        tries.append(request.repeated)
        return claim(database, request, **options)

    monkeypatch.setattr(routes, "claim", counted)
    answer = api.post("/v1/claims", json={"presets": [PRESET], "owner": "ada", "wait": 0.3})
    assert answer.status_code == 429
    assert answer.json()["code"] == "not_desired"
    assert tries == [False]


def test_one_that_finds_no_thread_when_it_tries_again_goes_on_waiting(
    api: Api, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(database, settings, 0)
    pause(database, PRESET, actor="op")
    tries: list[bool] = []

    def busy(database: Database, request: ClaimRequest, **options: Any) -> Any:
        tries.append(request.repeated)
        if len(tries) == 1:
            try:
                return claim(database, request, **options)
            finally:
                resume(database, PRESET, actor="op")
        if len(tries) == 2:
            raise BusyError("all connections are in use")
        return claim(database, request, **options)

    monkeypatch.setattr(routes, "claim", busy)
    answer = api.post("/v1/claims", json={"presets": [PRESET], "owner": "ada", "wait": 20})
    assert answer.status_code == 202
    assert tries == [False, True, True]


def _reserved(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count(m.BoundRequest.id))).scalar_one()


async def _seen_idle(api: Api, database: Database) -> bool:
    """Look between two queries for those who wait, until no thread, connection and transaction is in use."""
    door = api.app.state.door
    pool: Any = api.runtime.database.engine.pool
    for _ in range(500):
        if door.in_use == 0 and pool.checkedout() == 0 and not await asyncio.to_thread(_in_transaction, database):
            return True
        await asyncio.sleep(0.02)
    return False


def _in_transaction(database: Database) -> int:
    """Count the sessions of others that have begun a transaction."""
    if database.engine.dialect.name != "postgresql":
        return 0
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND xact_start IS NOT NULL"
    )
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())
