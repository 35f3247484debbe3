"""Routes that change something: what they change, who is named in the history, and what is sent after the answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.direct import DirectMessages
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from tests.support.api import Api, serving
from tests.support.builders import PRESET, declare, fill, finish_builds, turn
from tests.support.wait import wait_until

POOL = "/v1/pools/dev/small"


def claimed(database: Database, settings: Settings, owner: str = "ada", name: str = "hers") -> str:
    """Claim a workspace with an end, and return its path."""
    declare(database, settings, 2, extra="claimed_ttl: 1d")
    fill(database, settings)
    claim(database, ClaimRequest(owner=owner, presets=[PRESET], name=name))
    return f"/v1/workspaces/{owner}/{name}"


def events(database: Database, event: str) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(m.History).where(m.History.event == event).order_by(m.History.id)).all())


def test_a_pool_is_paused_and_resumed(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    until = datetime.now(UTC) + timedelta(hours=1)
    answer = api.post(f"{POOL}/pause", json={"reason": "moving", "until": until.isoformat()})
    assert (answer.status_code, answer.json()) == (200, {"changed": True})
    assert api.get(POOL).json()["reason"] == "paused"
    [row] = events(database, "paused")
    assert (row.actor_kind, row.actor_name, row.reason) == ("token", "t1", "moving")
    assert api.post(f"{POOL}/pause").json() == {"changed": True}  # without an end
    assert api.post(f"{POOL}/resume").json() == {"changed": True}
    assert api.post(f"{POOL}/resume").json() == {"changed": False}
    lasting = api.post(f"{POOL}/pause", json={"duration": "2h"})  # by the clock of the database
    assert (lasting.status_code, lasting.json()["changed"]) == (200, True)
    assert events(database, "paused")[-1].reason == ""
    both = api.post(f"{POOL}/pause", json={"duration": "2h", "until": until.isoformat()})
    assert (both.status_code, both.json()["code"]) == (422, "bad_input")
    assert api.post(f"{POOL}/pause", json={"duration": "9999999999d"}).status_code == 422
    past = api.post(f"{POOL}/pause", json={"until": "2020-01-01T00:00:00Z"})
    assert (past.status_code, past.json()["code"]) == (422, "bad_input")


def test_a_key_pauses_once(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    body, headers = {"reason": "moving", "duration": "2h"}, {"Idempotency-Key": "k"}
    first = api.post(f"{POOL}/pause", json=body, headers=headers)
    again = api.post(f"{POOL}/pause", json=body, headers=headers)
    assert [answer.json() for answer in (first, again)] == [{"changed": True}] * 2
    assert [answer.headers.get("Idempotent-Replayed") for answer in (first, again)] == [None, "true"]
    assert len(events(database, "paused")) == 1
    other = api.post(f"{POOL}/pause", json={"reason": "upgrade"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "request_reused")
    assert api.post("/v1/pools/pause", json={"reason": "upgrade"}, headers=headers).status_code == 200
    assert api.post("/v1/pools/resume", headers=headers).json() == {"changed": True}
    token = api.token("operate")
    assert "Idempotent-Replayed" not in api.post(f"{POOL}/pause", token, json=body, headers=headers).headers
    assert len(events(database, "paused")) == 3


def test_everything_is_paused_and_resumed(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    assert api.post("/v1/pools/pause", json={"reason": "moving"}).json() == {"changed": True}
    assert api.get(POOL).json()["reason"] == "paused"
    assert api.post("/v1/pools/resume").json() == {"changed": True}
    for restricted in ({"organization": "default"}, {"presets": (PRESET,)}, {"owner": "ada"}):
        refused = api.post("/v1/pools/pause", api.token("operate", **restricted))
        assert (refused.status_code, refused.json()["code"]) == (403, "reach_too_narrow")
    assert api.get(POOL).json()["reason"] != "paused"


def test_a_pool_is_unblocked_and_invalidated(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    assert api.post(f"{POOL}/unblock").json() == {"changed": False}
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="no space")
    assert api.post(f"{POOL}/unblock").json() == {"changed": True}
    fill(database, settings)
    affected = api.post(f"{POOL}/invalidate").json()["affected"]
    assert affected == {"replaced": 1, "starting": 0, "failed": 1, "claimed": 0, "superseded": 0}
    assert [row.actor for row in events(database, "invalidated")] == ["token:t1"]


def test_a_workspace_is_released_once(api: Api, database: Database, settings: Settings) -> None:
    path = claimed(database, settings)
    token = api.token("claim", owner="ada", name="portal")
    answer = api.post(f"{path}/release", token)
    assert (answer.status_code, answer.json()["state"]) == (200, "deleting")
    assert answer.json()["workspace"] == "ada/hers"
    assert api.post(f"{path}/release", token).status_code == 200  # it is being deleted
    row = events(database, "released")[0]
    assert (row.actor_kind, row.actor_name, row.actor_subject) == ("token", "portal", "ada")
    finish_builds(database)
    assert api.post(f"{path}/release", token).status_code == 404


@pytest.mark.parametrize(("method", "more"), [("POST", "/release"), ("DELETE", "")])
def test_only_the_workspace_of_an_id_is_ended(
    method: str, more: str, api: Api, database: Database, settings: Settings
) -> None:
    path = claimed(database, settings)
    identity = api.get(path).json()["id"]
    for other in ("00000000-0000-0000-0000-000000000000", "none"):
        refused = api.call(method, path + more, api.admin, params={"id": other})
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert api.get(path).json()["state"] == "usable"
    assert api.call(method, path + more, api.admin, params={"id": identity}).json()["id"] == identity


def test_a_workspace_of_an_owner_who_is_named_like_a_token(api: Api, database: Database, settings: Settings) -> None:
    """Such names could be claimed for before: what their owners have stays within reach."""
    claimed(database, settings)
    with database.write() as connection:
        connection.execute(update(m.Workspace).where(m.Workspace.owner == "ada").values(owner="token:t1"))
    path = "/v1/workspaces/token:t1/hers"
    assert [api.get(at).status_code for at in (path, f"{path}/history")] == [200, 200]
    assert api.get("/v1/workspaces", params={"owner": "token:t1"}).json()["items"][0]["workspace"] == "hers"
    assert api.post(f"{path}/release").status_code == 200


def test_only_an_operator_deletes_a_prebuild(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    [row] = api.get("/v1/workspaces").json()["items"]
    path = f"/v1/workspaces/prebuilds/{row['workspace']}"
    refused = api.post(f"{path}/release")
    assert (refused.status_code, refused.json()["detail"]) == (409, f"{row['workspace']} is not claimed")
    assert refused.json()["remedy"]["call"] == {"method": "DELETE", "href": path}
    narrow = api.call("DELETE", path, api.token("claim"))
    assert (narrow.status_code, narrow.json()["missing_scope"]) == (403, "operate")
    assert api.call("DELETE", path).json() == {
        "workspace": f"prebuilds/{row['workspace']}", "id": row["id"], "state": "deleting",
    }  # fmt: skip


def test_a_workspace_is_extended_until(api: Api, database: Database, settings: Settings) -> None:
    path = claimed(database, settings)
    end = datetime.fromisoformat(api.get(path).json()["claimed_until"])
    later = (end + timedelta(days=2)).isoformat()
    for _ in range(2):  # a retry changes nothing
        answer = api.post(f"{path}/extend", json={"until": later})
        assert (answer.status_code, answer.json()) == (200, {"workspace": "ada/hers", "claimed_until": later})
    assert len(events(database, "extended")) == 1
    assert api.post(f"{path}/extend", json={"until": end.isoformat()}).json()["claimed_until"] == later
    assert api.post(f"{path}/extend", json={"until": "2020-01-01T00:00:00Z"}).status_code == 422
    assert api.post(f"{path}/extend", json={"until": "2199-01-01T00:00:00Z"}).status_code == 422


def test_a_duration_extends_once_for_each_key(api: Api, database: Database, settings: Settings) -> None:
    path = claimed(database, settings)
    end = datetime.fromisoformat(api.get(path).json()["claimed_until"])
    assert api.post(f"{path}/extend", json={"duration": "1d"}).json()["code"] == "bad_input"
    first = api.post(f"{path}/extend", json={"duration": "1d"}, headers={"Idempotency-Key": "k1"})
    assert datetime.fromisoformat(first.json()["claimed_until"]) == end + timedelta(days=1)
    again = api.post(f"{path}/extend", json={"duration": "24h"}, headers={"Idempotency-Key": "k1"})
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    other = api.post(f"{path}/extend", json={"duration": "2d"}, headers={"Idempotency-Key": "k1"})
    assert (other.status_code, other.json()["type"]) == (422, "/docs#request-reused")
    remedied = other.json()["remedy"]["call"]
    assert (remedied["method"], remedied["href"], remedied["body"]) == ("POST", f"{path}/extend", {"duration": "2d"})
    extended = api.post(remedied["href"], json=remedied["body"], headers=remedied["headers"])
    assert datetime.fromisoformat(extended.json()["claimed_until"]) == end + timedelta(days=3)
    second = api.post(f"{path}/extend", json={"duration": "1d"}, headers={"Idempotency-Key": "k2"})
    assert datetime.fromisoformat(second.json()["claimed_until"]) == end + timedelta(days=4)
    # The same key of another principal is another request.
    third = api.post(f"{path}/extend", api.token("claim"), json={"duration": "1d"}, headers={"Idempotency-Key": "k1"})
    assert datetime.fromisoformat(third.json()["claimed_until"]) == end + timedelta(days=5)
    assert "k1" not in api.get(f"{path}/history").text


def test_without_redis_a_turn_cannot_be_asked_for(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    for path in (f"{POOL}/reconcile", "/v1/pools/reconcile"):
        answer = api.post(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "unreachable")
        assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_follows_is_sent_after_the_answer(database: Database, settings: Settings, redis_url: str) -> None:
    with serving(database, settings, redis_url=redis_url) as api, redis.Redis.from_url(redis_url) as client:
        patient = DirectMessages(api.runtime.settings.resolved_redis_url, settings.queue, timeout=30)
        api.app.state.door.__dict__["_messages"] = patient
        path = claimed(database, settings)
        assert client.keys() == []
        api.post(f"{path}/release")
        wait_until(lambda: client.llen(settings.queue("builds")) == 1, what="the message of the build that deletes it")
        assert client.llen(settings.queue("events")) == 1
        assert api.post(f"{POOL}/reconcile").json() == {"requested": PRESET}
        assert client.llen(settings.queue("events")) + client.llen(settings.queue("reconcile")) == 2
