"""The answers to a key whose workspace was lost together with its host."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
from sqlalchemy import select

from prebuild_tasks.builds import store
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.retired_hosts import forget_host
from prebuild_tasks.upkeep.sweep import sweep
from tests.support.api import Api
from tests.support.builders import PRESET, declare, fill, finish_builds, staffed, workspaces
from tests.support.hosts import be_silent_for_long, place_on, report_presence

CLAIMS = "/v1/claims"
BODY = {"presets": [PRESET], "owner": "ada"}
KEY = {"Idempotency-Key": "k"}


def ask(api: Api, token: str, wait: float = 0) -> httpx.Response:
    return api.post(CLAIMS, token, json={**BODY, "wait": wait}, headers=KEY)


def test_of_a_host_that_was_forgotten(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    place_on(database, "old")
    hers = api.token("claim", owner="ada")
    given = ask(api, hers)
    _, new = report_presence(database, settings, "old", "new")
    be_silent_for_long(database, settings, new)
    sweep(database, settings, lambda _: 0)
    assert ask(api, hers).status_code == 201, "a silent host may come back with what people have on it"
    forget_host(database, settings, "old", actor="op", claimed=True)
    for answer in (ask(api, hers), ask(api, hers, wait=0.1), api.get(given.headers["Location"], hers)):
        body = answer.json()
        assert (answer.status_code, body["type"], body["state"]) == (410, "/docs#request-ended", "ended")
        assert (body["reason"], body["ended_by"]) == ("host_forgotten", "op")
        assert datetime.fromisoformat(body["ended_at"]) <= datetime.now(UTC)
        assert (body["workspace"], body["workspace_id"]) == (given.json()["workspace"], given.json()["workspace_id"])
        assert body["remedy"]["kind"] == "make_a_new_request_id"
        assert body["remedy"]["call"]["href"] == CLAIMS
    assert workspaces(database, m.Workspace.owner == "ada") == []


def test_while_it_was_being_built(api: Api, database: Database, settings: Settings) -> None:
    """It has failed, and is then deleted: the key stays bound to the failure."""
    staffed(database, settings)
    declare(database, settings, 0)
    hers = api.token("claim", owner="ada")
    place = ask(api, hers, wait=0.01).headers["Location"]
    with database.write() as connection:
        build_id = connection.execute(select(m.Build.id)).scalar_one()
        assert store.take(connection, build_id, "old/1", "old", database.now(connection))
    _, new = report_presence(database, settings, "old", "new")
    be_silent_for_long(database, settings, new)
    assert sweep(database, settings, lambda _: 0).retaken == 1
    for _ in range(2):  # being deleted, deleted
        for answer in (ask(api, hers), ask(api, hers, wait=0.1), api.get(place, hers)):
            body = answer.json()
            assert (answer.status_code, body["type"], body["reason"]) == (409, "/docs#build-failed", "build_failed")
            assert "not heard of: old" in body["detail"]
            assert body["remedy"]["call"] == {"method": "GET", "href": body["log"]}
            assert body["log"] == f"/v1/builds/{build_id}/log"
            assert api.get(body["log"], hers).status_code == 200
        finish_builds(database)
    assert workspaces(database, m.Workspace.owner == "ada") == []
