"""Redis answers, but refuses: claims go on, and what needs a message is told so."""

from __future__ import annotations

import logging

import pytest

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.support.builders import PRESET, declare, fill
from tests.support.door import portal
from tests.support.refusing_redis import REFUSALS, refusing_redis
from tests.support.stocked_door import listening
from tests.support.wait import wait_until

RECONCILE = f"/v1/pools/{PRESET}/reconcile"


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_is_answered(
    refusal: str, database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    declare(database, settings, 4)
    fill(database, settings)
    token = create_token(database, NewTokenRequest(name="t", scope=Scope.ADMIN), actor="test").text
    with refusing_redis(refusal) as redis, caplog.at_level(logging.WARNING):
        served = settings.model_copy(update={"database_url": database.url, "redis_url": redis.url})
        with listening(served) as url, portal(url, token) as client:
            asked = client.post(RECONCILE)
            assert (asked.status_code, asked.json()["detail"]) == (503, "Redis did not take the message")
            assert int(asked.headers["Retry-After"]) > 0
            for number in range(3):
                given = client.post("/v1/claims", json={"presets": [PRESET], "owner": f"o{number}"})
                assert given.status_code == 201, given.text
            assert client.post(f"/v1/pools/{PRESET}/pause").status_code == 200
            wait_until(lambda: caplog.text.count("not_published") == 2, what="the wake-up of a claim, which is refused")
            explained = client.get(f"/v1/pools/{PRESET}/explain")
            assert explained.status_code == 200
            for secret in (redis.url, redis.url.split("/")[2], REFUSALS[refusal]):
                assert secret not in explained.text + asked.text
            assert {b"LPUSH", b"HELLO"} & redis.refused
            redis.refusal = ""
            wait_until(lambda: client.post(RECONCILE).status_code == 200, what="Redis is asked again")
    assert "request_failed" not in caplog.text
