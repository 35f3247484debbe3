"""Claims over HTTP: the statuses of each outcome, keys, waits, and what happens when nobody waits any more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from prebuild_tasks.claims.types import WaitStage
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.schema import tables as m
from prebuild_tasks.web.api.waits import PAUSE, Waits
from tests.support.api import Api
from tests.support.builders import PRESET, declare, fill, finish_builds, staffed

CLAIMS = "/v1/claims"


def ask(api: Api, token: str | None = None, key: str = "", **body: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return api.post(CLAIMS, token, json={"presets": [PRESET], "owner": "ada", **body}, headers=headers)


def owned(database: Database, owner: str = "ada") -> int:
    with database.read() as connection:
        query = select(func.count()).where(m.Workspace.owner == owner, m.Workspace.deleted_at.is_(None))
        return int(connection.execute(query).scalar_one())


def test_a_workspace_is_given(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    answer = ask(api)
    body = answer.json()
    assert (answer.status_code, body["owner"], body["preset"]) == (201, "ada", PRESET)
    assert answer.headers["Location"] == f"{CLAIMS}/{body['id']}"
    assert body["id"] != body["workspace_id"]
    assert "Idempotent-Replayed" not in answer.headers
    now = api.get(answer.headers["Location"])
    assert (now.status_code, now.json()["workspace_id"]) == (200, body["workspace_id"])
    given = api.call("DELETE", answer.headers["Location"])
    assert (given.status_code, given.json()["remedy"]["kind"]) == (409, "release_workspace")


def test_a_key_gives_one_workspace(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    first, again = ask(api, key="k"), ask(api, key="k", wait=5)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.json()["workspace_id"] == first.json()["workspace_id"]
    reused = ask(api, key="k", owner="bob")
    assert (reused.status_code, reused.json()["type"]) == (422, "/docs#request-reused")
    other = ask(api, api.token("claim"), key="k")
    assert (other.status_code, other.json()["workspace_id"] != first.json()["workspace_id"]) == (201, True)
    api.post(f"/v1/workspaces/ada/{first.json()['workspace']}/release")
    ended = ask(api, key="k")
    assert (ended.status_code, ended.json()["type"], ended.json()["reason"]) == (410, "/docs#request-ended", "released")
    assert ended.json()["ended_by"] == "token:t1"
    assert owned(database) == 2


def test_a_miss_says_when_to_try_again(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    miss = ask(api, key="k")
    body = miss.json()
    assert (miss.status_code, body["type"], body["reason"]) == (429, "/docs#miss/empty-pool", "empty_pool")
    assert 1 <= int(miss.headers["Retry-After"]) <= 300
    assert body["retryable"] is True
    assert not [name for name in miss.headers if name.startswith("ratelimit")]
    fill(database, settings)
    assert ask(api, key="k", owner="bob").status_code == 201  # a miss binds no key
    pause(database, PRESET, actor="op", reason="moving")
    paused = ask(api, key="l")
    assert paused.status_code == 429
    assert "paused by op" in paused.json()["detail"]


def test_who_may_claim_for_whom(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    hers = api.token("claim", owner="ada")
    own = api.post(CLAIMS, hers, json={"presets": [PRESET]})
    assert (own.status_code, own.json()["owner"]) == (201, "ada")
    refused = ask(api, hers, owner="bob")
    assert (refused.status_code, refused.json()["type"]) == (403, "/docs#owner-not-allowed")
    assert api.post(CLAIMS, json={"presets": [PRESET]}).status_code == 422  # whose is it to be
    hidden = ask(api, api.token("claim", presets=("dev/big",)))
    missing = ask(api, presets=["dev/none"])
    assert (hidden.status_code, missing.status_code) == (404, 404)


BAD: list[tuple[Mapping[str, Any], int]] = [
    ({"owner": "prebuilds"}, 422),
    ({"owner": "a\0b"}, 422),
    ({"owner": "x" * 200}, 422),
    ({"presets": [PRESET] * 10_000}, 422),
    ({"presets": [PRESET], "template": "dev"}, 422),
    ({"presets": ["nothing"]}, 422),
    ({"parameters": {"A": "1"}}, 422),
    ({"presets": []}, 422),
    ({"presets": PRESET}, 422),
    ({"presets": [], "template": "dev", "parameters": {"A": "\0"}}, 422),
    ({"presets": [], "template": "dev", "parameters": {"A": 5}}, 422),
    ({"presets": ["dev/none"]}, 404),
    ({"presets": [], "template": "none"}, 404),
    ({"wait": 56}, 422),
    ({"wait": -1}, 422),
    ({"wait": "5"}, 422),
    ({"name": "No Name"}, 422),
    ({"more": 1}, 422),
]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_is_wrong_with_a_claim(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    assert [(body, ask(api, **body).status_code) for body, _ in BAD] == BAD
    for key in ("", "a b", "x" * 101, "ü"):
        headers = {"Content-Type": "application/json", "Idempotency-Key": key.encode()}
        answer = api.post(CLAIMS, content=b"{", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_key")
    assert owned(database) == 0


def test_a_wait_that_ends_goes_on_under_its_key(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    first = ask(api, key="k", wait=0.3)
    body = first.json()
    assert (first.status_code, body["state"], body["owner"]) == (202, "being_built", "ada")
    assert (first.headers["Location"], int(first.headers["Retry-After"])) == (f"{CLAIMS}/{body['id']}", 5)
    assert api.get(first.headers["Location"]).status_code == 202
    assert ask(api, key="k").status_code == 202
    finish_builds(database)
    given = ask(api, key="k")
    assert (given.status_code, given.json()["id"], given.json()["workspace_id"]) == (
        201,
        body["id"],
        body["workspace_id"],
    )


def test_a_wait_ends_when_the_workspace_is_ready(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)

    async def both() -> httpx.Response:
        asking = asyncio.create_task(api.send("POST", CLAIMS, json={"presets": [PRESET], "owner": "ada", "wait": 50}))
        while not await asyncio.to_thread(finish_builds, database):
            await asyncio.sleep(0.05)
        return await asking

    answer = api.run(both())
    assert (answer.status_code, answer.json()["owner"]) == (201, "ada")


def test_a_failed_build_is_told_with_its_log(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    assert ask(api, key="k", wait=0.01).status_code == 202
    finish_builds(database, status=BuildStatus.FAILED, error="no space")
    for _ in range(2):  # the key stays bound to that
        failed = ask(api, key="k", wait=5)
        assert (failed.status_code, failed.json()["type"]) == (409, "/docs#build-failed")
        assert "no space" in failed.json()["detail"]
        assert api.get(failed.json()["log"]).status_code == 200


def test_a_wait_is_given_up(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    place = ask(api, key="k", wait=0.01).headers["Location"]
    assert api.call("DELETE", place, api.token("claim", owner="bob")).status_code == 404
    for _ in range(2):
        gone = api.call("DELETE", place)
        assert (gone.status_code, gone.content) == (204, b"")
    ended = ask(api, key="k")
    assert (ended.status_code, ended.json()["type"]) == (410, "/docs#request-ended")
    assert owned(database) == 0


def test_a_process_that_stops_ends_its_waits(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)

    async def both() -> httpx.Response:
        asking = asyncio.create_task(api.send("POST", CLAIMS, json={"presets": [PRESET], "owner": "ada", "wait": 50}))
        while not await asyncio.to_thread(owned, database):
            await asyncio.sleep(0.05)
        api.app.state.door.stopping.set()
        return await asking

    assert api.run(both()).status_code == 202


def test_a_client_that_went_away_takes_nothing(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    body = json.dumps({"presets": [PRESET], "owner": "ada", "wait": 50}).encode()
    headers = [
        (b"authorization", f"Bearer {api.admin}".encode()), (b"content-type", b"application/json"),
        (b"idempotency-key", b"k"),
    ]  # fmt: skip
    scope = {
        "type": "http", "method": "POST", "path": CLAIMS, "raw_path": CLAIMS.encode(), "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80), "root_path": "",
    }  # fmt: skip
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(_message: Any) -> None:
        """Nobody reads it."""

    async def both() -> None:
        asking = asyncio.create_task(api.app(scope, receive, send))
        while not await asyncio.to_thread(finish_builds, database):
            await asyncio.sleep(0.05)
        await asking

    api.run(both())
    with database.read() as connection:
        assert connection.execute(select(m.BoundRequest.kind)).scalar_one() == "reserved"
    assert ask(api, key="k", wait=50).status_code == 201


def test_all_who_wait_share_a_query() -> None:
    asked: list[int] = []
    ready: set[str] = set()

    async def read(claim_ids: Any) -> Mapping[str, WaitStage]:
        asked.append(len(claim_ids))
        return {one: WaitStage.SETTLED if one in ready else WaitStage.BEING_BUILT for one in claim_ids if one != "gone"}

    async def no_openings(_: Any) -> Mapping[Any, int]:
        return {}

    async def wait() -> list[bool]:
        waits = Waits(read, no_openings, asyncio.Event())
        tasks = [asyncio.create_task(waits.settled(f"c{number}", 3 * PAUSE)) for number in range(1, 501)]
        tasks += [asyncio.create_task(waits.settled(name, 60)) for name in ("c0", "gone")]
        await asyncio.sleep(PAUSE / 2)
        ready.add("c0")
        return await asyncio.gather(*tasks)

    settled = asyncio.run(wait())
    assert [number for number, done in enumerate(settled) if done] == [500, 501]
    assert len(asked) <= 5
    assert asked[0] == 502


def test_nothing_is_left_for_who_waits_where_nothing_can_be_reserved(
    api: Api, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(database, settings, 1)
    pause(database, PRESET, actor="op")
    refused = ask(api, wait=1)
    assert (refused.status_code, refused.json()["code"]) == (429, "empty_pool")
    assert "paused by op" in refused.json()["detail"]
    assert owned(database) == 0
