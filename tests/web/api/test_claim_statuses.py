"""Each refusal of a claim, and each answer to a key that was used, provoked over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db import session_values
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.sweep import sweep
from tests.support.api import Api, Options, serving
from tests.support.builders import PRESET, declare, fill, finish_builds, jump, staffed, workspaces

CLAIMS = "/v1/claims"
Told = tuple[int, str]


def ask(api: Api, key: str = "", **body: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return api.post(CLAIMS, json={"presets": [PRESET], "owner": "ada", **body}, headers=headers)


def told(answer: httpx.Response) -> Told:
    """Return the status, and the fragment of the problem's type."""
    if answer.status_code < 300:
        return answer.status_code, answer.headers.get("Idempotent-Replayed", "")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert ("Retry-After" in answer.headers) is (answer.status_code in (429, 503))
    return answer.status_code, answer.json()["type"].rpartition("#")[2]


def test_a_paused_pool_gives_what_is_ready(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    pause(database, PRESET, actor="op", reason="moving")
    assert told(ask(api)) == (201, "")
    for wait in (0, 0.1):
        missed = ask(api, wait=wait)
        assert missed.status_code == 429
        assert "paused by op" in missed.json()["detail"]
        assert missed.json()["remedy"]["kind"] == "resume"
    assert len(workspaces(database)) == 1


def test_a_wait_on_a_blocked_pool_is_refused(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 1)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=PresetStatus.HARD_LIMITED))
    refused = ask(api, wait=0.1)
    assert told(refused) == (409, "refused")
    assert refused.json()["remedy"]["call"]["href"] == "/v1/pools/dev/small/unblock"
    assert ask(api).status_code == 429
    assert workspaces(database) == []


def test_limits_and_names_are_refused(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    limits = "max_per_owner: 2, max_workspaces: 3"
    declare(database, settings, 3, organizations=f"[{{name: default, {limits}}}]")
    fill(database, settings)
    assert told(ask(api, name="hers")) == (201, "")
    assert told(ask(api, name="hers")) == (409, "refused")
    assert ask(api, name="hers").json()["remedy"]["kind"] == "choose_another_name_or_leave_it_out"
    assert told(ask(api)) == (201, "")
    assert told(ask(api)) == (409, "refused")  # the owner's limit
    assert told(ask(api, owner="bob")) == (201, "")
    assert told(ask(api, owner="bob", wait=0.1)) == (409, "refused")  # the quota
    assert [row.owner for row in workspaces(database)].count("bob") == 1


def test_a_key_in_every_state(api: Api, database: Database, settings: Settings) -> None:
    """It is answered with what it got, as that is now, and never gets another workspace."""
    staffed(database, settings)
    declare(database, settings, 0, config="claim: 'true'", extra="claimed_ttl: 1h")
    keys = ("given", "released", "deleted", "expired", "failed", "given-up", "waiting")
    ids = {key: ask(api, key, wait=0.01).json()["id"] for key in keys[:4]}
    finish_builds(database)
    for key in keys[:4]:
        assert told(ask(api, key)) == (201, "true")
    assert ask(api, "given").json()["state"] == "personalising"
    finish_builds(database)
    ids["failed"] = ask(api, "failed", wait=0.01).json()["id"]
    finish_builds(database, status=BuildStatus.FAILED, error="no space")
    ids |= {key: ask(api, key, wait=0.01).json()["id"] for key in keys[5:]}
    paths = {key: api.get(f"{CLAIMS}/{ids[key]}").json().get("workspace", "") for key in keys[:4]}
    api.post(f"/v1/workspaces/ada/{paths['released']}/release")
    api.call("DELETE", f"/v1/workspaces/ada/{paths['deleted']}")
    api.call("DELETE", f"{CLAIMS}/{ids['given-up']}")
    with database.write() as connection:
        past = database.now(connection).replace(year=2020)
        connection.execute(update(m.Workspace).where(m.Workspace.name == paths["expired"]).values(claimed_until=past))
    ended = (410, "request-ended")
    expected = {
        "given": (201, "true"), "released": ended, "deleted": ended, "expired": ended, "failed": (409, "build-failed"),
        "given-up": ended, "waiting": (202, "true"),
    }  # fmt: skip
    for _ in range(2):
        assert {key: told(ask(api, key)) for key in keys} == expected
        now = {key: told(api.get(f"{CLAIMS}/{ids[key]}"))[0] for key in keys}
        assert now == {key: status for key, (status, _) in expected.items()} | {"given": 200, "waiting": now["waiting"]}
        finish_builds(database)  # what was being deleted is gone
        expected["waiting"] = (201, "true")
    for key, by in (("released", "released"), ("deleted", "operator"), ("expired", "claimed_ttl")):
        body = ask(api, key).json()
        assert (body["reason"], bool(body["ended_at"]), bool(body["ended_by"])) == (by, True, True)
        assert body["remedy"]["kind"] == "make_a_new_request_id"
    log = ask(api, "failed").json()["log"]
    assert api.get(log).status_code == 200


def test_what_nobody_collects_has_ended(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    place = ask(api, "k", wait=0.01).headers["Location"]
    finish_builds(database)
    jump(database, settings.wait_unclaimed - 60)
    assert sweep(database, settings, lambda _: 0).uncollected == 0
    jump(database, 120)
    assert sweep(database, settings, lambda _: 0).uncollected == 1
    for answer in (ask(api, "k", wait=5), api.get(place)):
        assert told(answer) == (410, "request-ended")
        assert answer.json()["reason"] == "not_collected"
    assert [row.owner for row in workspaces(database)] == ["prebuilds"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_busy_row_is_told_with_503(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    monkeypatch.setattr(session_values, "LOCK_TIMEOUT_MS", 100)
    with serving(database, settings) as api:
        given = ask(api).json()
        with database.write() as connection:
            connection.execute(select(m.Workspace.id).with_for_update())
            busy = api.post(f"/v1/workspaces/ada/{given['workspace']}/release")
        assert (told(busy), busy.headers["Retry-After"]) == ((503, "busy"), "1")
        assert api.post(f"/v1/workspaces/ada/{given['workspace']}/release").status_code == 200


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_who_waits_holds_no_connection(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    with serving(database, settings, Options(connections=2)) as api:
        door = api.app.state.door

        async def wait() -> tuple[int, list[int]]:
            body = {"presets": [PRESET], "owner": "ada", "wait": 50}
            asking = [asyncio.create_task(api.send("POST", CLAIMS, json=body)) for _ in range(8)]
            while len(await asyncio.to_thread(workspaces, database)) < 8 or door.in_use:
                await asyncio.sleep(0.02)
            listed = await api.send("GET", "/v1/workspaces")
            door.stopping.set()
            return listed.status_code, [answer.status_code for answer in await asyncio.gather(*asking)]

        assert api.run(wait()) == (200, [202] * 8)


@pytest.mark.parametrize("wait", ["true", "NaN", "Infinity", "-Infinity", '"5"', "null", "-0.1", "55.1", "1e999", "[]"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_wait_is_a_number_of_seconds(api: Api, wait: str) -> None:
    body = f'{{"presets": ["dev/small"], "owner": "ada", "wait": {wait}}}'
    answer = api.post(CLAIMS, content=body.encode(), headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("wait", ["0", "0.0", "55", "55.0", "1e1"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_any_number_up_to_55_is_one(api: Api, wait: str) -> None:
    body = f'{{"presets": ["dev/none"], "owner": "ada", "wait": {wait}}}'
    answer = api.post(CLAIMS, content=body.encode(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 404


def test_a_number_of_any_length_is_not_a_preset(api: Api) -> None:
    for name in ("9" * 19, "9" * 40, "9" * 300, "٣"):
        assert ask(api, presets=[name]).status_code in (404, 422)
        assert api.get("/v1/workspaces", params={"preset": name}).status_code in (400, 404)
        assert api.get("/v1/builds", params={"preset": name}).status_code in (400, 404)
