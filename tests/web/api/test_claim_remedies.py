"""The remedies of claims that are refused name calls that can be sent as they stand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from tests.support.api import Api
from tests.support.builders import PRESET, declare, fill, hour_ahead, staffed
from tests.support.pool_files import load_text

CLAIMS = "/v1/claims"
BODY = {"presets": [PRESET], "owner": "ada"}
DAILY = "timezone: UTC, schedules: [{cron: '* HOUR * * *', desired: 4}]"


def send(api: Api, call: dict[str, Any], **changes: Any) -> httpx.Response:
    body = {"json": {**call["body"], **changes}} if "body" in call else {}
    return api.call(call["method"], call["href"], headers=call.get("headers", {}), **body)


@pytest.mark.parametrize(("desired", "extra"), [(1, ""), (0, ""), (0, DAILY)])
def test_a_miss_says_to_wait(api: Api, database: Database, settings: Settings, desired: int, extra: str) -> None:
    staffed(database, settings)
    hour = hour_ahead(database).hour
    declare(database, settings, desired, extra=extra.replace("HOUR", str(hour)))
    missed = api.post(CLAIMS, json=BODY).json()
    remedy = missed["remedy"]
    assert remedy["kind"] == "wait_for_workspace"
    assert remedy["call"] == {"method": "POST", "href": CLAIMS, "body": {**BODY, "wait": 55}}
    if extra:
        assert "its desired size is 0 right now, and becomes 4 at 20" in missed["detail"]
        assert f"T{hour:02}:00:00+00:00" in missed["detail"]
    assert missed["retryable"] is bool(desired or extra)
    assert bool(missed["next_change"]) is bool(extra)
    if extra:
        assert datetime.fromisoformat(missed["next_change"]).hour == hour
    assert send(api, remedy["call"], wait=0.01).status_code == 202


def test_a_miss_where_a_wait_would_be_refused(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=PresetStatus.HARD_LIMITED, status_reason="3 builds failed"))
        version = connection.execute(select(m.TemplateVersion.name)).scalar_one()
    blocked = api.post(CLAIMS, json=BODY).json()
    assert (blocked["retryable"], blocked["remedy"]["kind"]) == (False, "unblock_pool")
    assert "dev/small is not built at present (hard limited): 3 builds failed" in blocked["detail"]
    assert send(api, blocked["remedy"]["call"]).status_code == 200
    assert api.post(CLAIMS, json=BODY).json()["retryable"] is True
    declare(database, settings, 1, start="echo other")
    inactive = api.post(CLAIMS, json={**BODY, "presets": [f"{PRESET}@{version}"]}).json()
    assert (inactive["reason"], inactive["remedy"]["kind"]) == ("inactive", "claim_workspace")
    fill(database, settings)
    assert send(api, inactive["remedy"]["call"]).json()["preset"] == PRESET
    apply(database, settings, load_text("schema: 1\ntemplates: []\n"), ApplyOptions(actor="t", prune=True, yes=True))
    inactive = api.post(CLAIMS, json={**BODY, "presets": [f"{PRESET}@{version}"]}).json()
    assert (inactive["reason"], inactive["remedy"]["kind"]) == ("inactive", "list_pools")
    assert send(api, inactive["remedy"]["call"]).status_code == 200


@pytest.mark.parametrize("minutes", [0, 10])
def test_a_miss_under_a_pause(api: Api, database: Database, settings: Settings, minutes: int) -> None:
    staffed(database, settings)
    declare(database, settings, 1)
    pause(database, PRESET, actor="op", reason="moving", seconds=60 * minutes or None)
    claimant = api.token("claim", owner="ada")
    paused = api.post(CLAIMS, claimant, json=BODY).json()
    assert paused["retryable"] is bool(minutes)
    assert bool(paused["next_change"]) is bool(minutes)
    if minutes:
        assert datetime.fromisoformat(paused["next_change"]) > datetime.now(UTC)
        assert paused["hint"] == f"try again at {paused['next_change'][:19]}+00:00, or have one built from that time on"
        assert paused["remedy"]["kind"] == "wait_for_workspace"
        waited = send(api, paused["remedy"]["call"], wait=0.01)
        assert (waited.status_code, waited.json()["next_change"]) == (429, paused["next_change"])
        resume(database, PRESET, actor="op")
    else:
        assert send(api, paused["remedy"]["call"]).status_code == 200
    after = api.post(CLAIMS, json=BODY).json()
    assert (after["retryable"], after["next_change"], after["remedy"]["kind"]) == (True, None, "wait_for_workspace")


def test_the_call_of_a_refusal(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    body = {**BODY, "name": "hers"}
    given = api.post(CLAIMS, json=body)
    taken = api.post(CLAIMS, json=body).json()["remedy"]
    assert taken["kind"] == "choose_another_name_or_leave_it_out"
    assert send(api, taken["call"]).status_code == 201
    kept = api.call("DELETE", given.headers["Location"])
    assert kept.status_code == 409
    assert send(api, kept.json()["remedy"]["call"]).status_code == 200
