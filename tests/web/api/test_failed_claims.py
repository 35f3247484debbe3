"""Claims whose workspace could not be built: the log is that of the build that failed."""

from __future__ import annotations

from typing import Any

import httpx
from sqlalchemy import update

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from tests.support.api import Api
from tests.support.builders import PRESET, build_all, declare, finish_builds, staffed

CLAIMS = "/v1/claims"


def ask(api: Api, token: str, key: str = "k", **body: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    return api.post(CLAIMS, token, json={"presets": [PRESET], "owner": "ada", "wait": 0.01, **body}, headers=headers)


def test_the_log_is_that_of_the_build_that_failed(
    api: Api, database: Database, settings: Settings, runner: BuildRunner
) -> None:
    """The runner begins to delete the workspace at once, by a build that is newer, and of the same workspace."""
    staffed(database, settings)
    declare(database, settings, 0, start="echo boom; exit 3")
    hers = api.token("claim", owner="ada", presets=(PRESET,), organization="default")
    place = ask(api, hers, name="mine").headers["Location"]
    for _ in range(3):  # failed, being deleted, deleted
        build_all(database, runner)
        for failed in (ask(api, hers, name="mine"), api.get(place, hers)):
            body = failed.json()
            assert (failed.status_code, body["type"], body["reason"]) == (409, "/docs#build-failed", "build_failed")
            assert body["remedy"]["call"] == {"method": "GET", "href": body["log"]}
            assert "boom" in api.get(body["log"], hers).text


def test_another_workspace_of_the_name_has_another_log(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    ask(api, api.admin, name="mine")
    finish_builds(database, status=BuildStatus.FAILED, error="no space")
    log = ask(api, api.admin, name="mine").json()["log"]
    with database.write() as connection:  # as the runner does
        connection.execute(
            update(m.Workspace).values(transition="delete", status="succeeded", deleted_at=m.Workspace.created_at)
        )
    assert ask(api, api.admin, "other", name="mine").status_code == 202
    again = ask(api, api.admin, name="mine")
    assert (again.json()["log"], "no space" in again.json()["detail"]) == (log, True)
