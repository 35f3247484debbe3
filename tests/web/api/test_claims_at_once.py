"""Claims that are made, collected and given up from several connections at once."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.sweep import sweep
from tests.support.api import Api
from tests.support.builders import PRESET, declare, fill, finish_builds, jump, staffed, workspaces

CLAIMS = "/v1/claims"
pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def all_at_once(api: Api, *requests: Any) -> list[httpx.Response]:
    async def send() -> list[httpx.Response]:
        return list(await asyncio.gather(*requests))

    return list(api.run(send()))


def asked(api: Api, **body: Any) -> Any:
    whole = {"presets": [PRESET], "owner": "ada", **body}
    return api.send("POST", CLAIMS, json=whole, headers={"Idempotency-Key": "k"})


@pytest.mark.parametrize("ready", [3, 1, 0])
def test_one_key_gets_one_workspace(api: Api, database: Database, settings: Settings, ready: int) -> None:
    staffed(database, settings)
    declare(database, settings, ready)
    if ready:
        fill(database, settings)
    answers = all_at_once(api, *(asked(api, wait=0.1) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201 if ready else 202}
    assert len({(answer.json()["id"], answer.json()["workspace_id"]) for answer in answers}) == 1
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count(None) == 1
    assert len(workspaces(database, m.Workspace.owner == "ada")) == 1
    assert audit(database, settings) == []


def test_it_is_collected_once(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0, config="claim: 'true'")
    place = api.run(asked(api, wait=0.01)).headers["Location"]
    finish_builds(database)
    answers = all_at_once(api, *(api.send("GET", place) for _ in range(4)), *(asked(api) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {200, 201}
    with database.read() as connection:
        events = connection.execute(select(m.History.event)).scalars().all()
        builds = connection.execute(select(m.Build.id)).all()
    assert (events.count("claimed"), len(builds)) == (1, 2), "it is handed over, and personalised, once"
    assert audit(database, settings) == []


@pytest.mark.parametrize("by", ["give_up", "sweep"])
def test_it_is_either_collected_or_back_in_its_pool(api: Api, database: Database, settings: Settings, by: str) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    place = api.run(asked(api, wait=0.01)).headers["Location"]
    finish_builds(database)
    jump(database, settings.wait_unclaimed + 60)

    async def end() -> httpx.Response:
        if by == "give_up":
            return await api.send("DELETE", place)
        swept = await asyncio.to_thread(sweep, database, settings, lambda _: 0)
        return httpx.Response(204 if swept.uncollected else 409)

    collected, ended = all_at_once(api, api.send("GET", place), end())
    assert (collected.status_code, ended.status_code) in ((200, 409), (410, 204))
    [row] = workspaces(database)
    assert row.owner == ("ada" if collected.status_code == 200 else "prebuilds")
    assert audit(database, settings) == []


def test_whoever_collects_or_gives_up_is_in_the_history(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    first, second = api.token("claim", name="portal-a"), api.token("claim", name="portal-b")
    body = {"presets": [PRESET], "owner": "ada", "wait": 0.01}
    places = [api.post(CLAIMS, first, json=body).headers["Location"] for _ in range(2)]
    assert api.call("DELETE", places[1], second).status_code == 204
    finish_builds(database)
    assert api.get(places[0], second).status_code == 200
    with database.read() as connection:
        query = select(m.History.event, m.History.actor_name, m.History.actor_kind, m.History.actor_subject)
        events = connection.execute(query.where(m.History.event.in_(("claimed", "given_up")))).all()
    assert sorted(map(tuple, events)) == [(event, "portal-b", "token", "ada") for event in ("claimed", "given_up")]
