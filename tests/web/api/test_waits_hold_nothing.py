"""Claims that wait hold no thread, no connection and no transaction: all of them can be more than there are threads."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
    door, tried = api.app.state.door, noted_tries(monkeypatch)
    owners = [f"o{number}" for number in range(NUMBER)]

    async def work() -> tuple[bool, Counter[str], list[int]]:
        asking = [
            asyncio.create_task(api.send("POST", "/v1/claims", json={"presets": [PRESET], "owner": owner, "wait": 50}))
            for owner in owners
        ]
        ended_at = monotonic() + 30
        while len(tried) < NUMBER or monotonic() < ended_at - 27:  # longer than the first two of those pauses
            assert monotonic() < ended_at
            await asyncio.sleep(0.02)
        idle, before = await _seen_idle(api, database), Counter(request.owner for request in tried)
        await asyncio.to_thread(resume, database, PRESET, actor="op")
        while await asyncio.to_thread(_reserved, database) < NUMBER:
            assert monotonic() < ended_at
            await asyncio.sleep(0.02)
        door.stopping.set()
        return idle, before, [answer.status_code for answer in await asyncio.gather(*asking)]

    idle, before, statuses = api.run(work())
    assert idle
    assert before == dict.fromkeys(owners, 1)
    assert Counter(request.owner for request in tried) == dict.fromkeys(owners, 2)
    assert statuses == [202] * NUMBER


def test_at_the_deadline_nobody_tries_in_vain(
    api: Api, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All who wait would do so at once, and keep others from the threads."""
    declare(database, settings, 0)
    pause(database, PRESET, actor="op")
    tried = noted_tries(monkeypatch)
    answer = api.post("/v1/claims", json={"presets": [PRESET], "owner": "ada", "wait": 0.3})
    assert answer.status_code == 429
    assert answer.json()["code"] == "not_desired"
    assert [request.repeated for request in tried] == [False]


def test_one_that_finds_no_thread_when_it_tries_again_goes_on_waiting(
    api: Api, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(database, settings, 0)
    pause(database, PRESET, actor="op")

    @contextmanager
    def interfere(number: int) -> Iterator[None]:
        if number == 2:
            raise BusyError("all connections are in use")
        try:
            yield
        finally:
            if number == 1:
                resume(database, PRESET, actor="op")

    tried = noted_tries(monkeypatch, interfere)
    answer = api.post("/v1/claims", json={"presets": [PRESET], "owner": "ada", "wait": 20})
    assert answer.status_code == 202
    assert [request.repeated for request in tried] == [False, True, True]


def noted_tries(
    monkeypatch: pytest.MonkeyPatch, around: Callable[[int], AbstractContextManager[object]] = nullcontext
) -> list[ClaimRequest]:
    """Note the claims that the route makes in threads; `around` gets the number of each, from 1."""
    tried: list[ClaimRequest] = []

    def noted(database: Database, request: ClaimRequest, **options: Any) -> Any:
        tried.append(request)
        with around(len(tried)):
            return claim(database, request, **options)

    monkeypatch.setattr(routes, "claim", noted)
    return tried


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
