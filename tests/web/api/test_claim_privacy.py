"""A workspace that went back to its pool shows whoever gets it next nothing of whoever waited for it."""

from __future__ import annotations

from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.upkeep.sweep import sweep
from tests.support.api import Api
from tests.support.builders import PRESET, declare, finish_builds, jump, staffed, turn

CLAIMS = "/v1/claims"
SECRETS = ("ada-lovelace", "her-secret-project", "portal-a", "given_up", "not_collected")


def seen(api: Api, token: str, workspace: str) -> tuple[str, list[dict[str, Any]]]:
    """Return all that a token can read of its workspace and its builds, and the history."""
    place = f"/v1/workspaces/bob/{workspace}"
    builds = api.get("/v1/builds", token)
    more = [f"/v1/builds/{item['build']}" for item in builds.json()["items"]]
    texts = [api.get(path, token).text for path in (place, f"{place}/history", "/v1/workspaces", *more)]
    history = api.get(f"{place}/history", token, params={"limit": 2})
    items: list[dict[str, Any]] = history.json()["items"]
    while after := history.json()["next"]:
        history = api.get(f"{place}/history", token, params={"limit": 2, "cursor": after})
        items += history.json()["items"]
    assert items == api.get(f"{place}/history", token).json()["items"]
    return "".join([builds.text, *texts]), items


@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("how", ["given_up", "not_collected"])
def test_the_next_owner_learns_nothing(
    api: Api, database: Database, settings: Settings, how: str, *, adopted: bool
) -> None:
    staffed(database, settings)
    declare(database, settings, int(adopted))
    if adopted:
        turn(database, settings)
    hers = api.token("claim", name="portal-a", owner="ada-lovelace")
    body = {"presets": [PRESET], "name": "her-secret-project", "wait": 0.01}
    place = api.post(CLAIMS, hers, json=body, headers={"Idempotency-Key": "k"}).headers["Location"]
    finish_builds(database)
    if how == "given_up":
        assert api.call("DELETE", place, hers).status_code == 204
    else:
        jump(database, settings.wait_unclaimed + 60)
        assert sweep(database, settings, lambda _: 0).uncollected == 1
    bobs = api.token("claim", owner="bob", name="portal-b")
    given = api.post(CLAIMS, bobs, json={"presets": [PRESET]}).json()
    text, history = seen(api, bobs, given["workspace"])
    assert [word for word in SECRETS if word in text] == []
    assert {item["actor"] for item in history} <= {"reconciler", "token:portal-b"}
    assert history[-1]["event"] == "claimed"
    whole = api.get(f"/v1/workspaces/bob/{given['workspace']}/history").json()["items"]
    assert how in {item["event"] for item in whole}, "who may see everything does"
