"""A token that is revoked, or expires, ends within two seconds what is being answered with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import event, select

from prebuild_tasks.access.tokens import revoke_token
from prebuild_tasks.builds import store
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import TokenRevokedError, UnreachableError
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.schema import tables as m
from prebuild_tasks.web.api.token_watch import TokenWatch
from tests.support.api import Api
from tests.support.builders import PRESET, declare, finish_builds, staffed

CLAIMS = "/v1/claims"
BODY = {"presets": [PRESET], "owner": "ada", "wait": 50}
WITHIN = 2.0


def reserved(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(m.BoundRequest.kind)).scalars())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.02)


def ended_after_revocation(
    api: Api, token: str, asking: Awaitable[httpx.Response], is_waiting: Callable[[], object]
) -> tuple[httpx.Response, float]:
    """Revoke the token once the request waits, and return the answer with the seconds until it came."""

    async def both() -> tuple[httpx.Response, float]:
        task = asyncio.ensure_future(asking)
        await until(is_waiting)
        await asyncio.sleep(0.3)  # the wait goes on for a while
        assert not task.done()
        await asyncio.to_thread(revoke_token, api.database, token, actor="op")
        began = monotonic()
        return await task, monotonic() - began

    answer, seconds = api.run(both())
    return answer, seconds


def test_a_wait_for_a_build(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    asking = api.send("POST", CLAIMS, api.token("claim", name="portal"), json=BODY)
    answer, seconds = ended_after_revocation(api, "portal", asking, lambda: reserved(database))
    assert (answer.status_code, answer.json()["code"]) == (401, "token_revoked")
    assert "WWW-Authenticate" in answer.headers
    assert seconds < WITHIN
    finish_builds(database)
    assert reserved(database) == ["reserved"]


def test_a_wait_where_nothing_can_be_reserved(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    pause(database, PRESET, actor="op")

    def missed() -> bool:
        with database.read() as connection:
            return connection.execute(select(m.ClaimEvent.id)).first() is not None

    asking = api.send("POST", CLAIMS, api.token("claim", name="portal"), json=BODY)
    answer, seconds = ended_after_revocation(api, "portal", asking, missed)
    assert (answer.status_code, seconds < WITHIN) == (401, True)


def test_a_log_that_is_followed(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    api.post(CLAIMS, json={**BODY, "wait": 0.01})
    build = api.get("/v1/builds").json()["items"][0]["build"]
    with database.write() as connection:
        assert store.take(connection, build, "runner", "", database.now(connection))
    token = api.token("read", name="reader")
    asking = api.send("GET", f"/v1/builds/{build}/log", token, params={"follow": "true"})
    answer, seconds = ended_after_revocation(api, "reader", asking, lambda: True)
    assert (answer.status_code, seconds < WITHIN) == (200, True)


def test_a_token_that_expires(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    expires_at = datetime.now(UTC) + timedelta(seconds=3)
    token = api.token("claim", name="portal", lifetime_s=3.0)
    answer = api.post(CLAIMS, token, json=BODY)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")
    assert timedelta() <= datetime.now(UTC) - expires_at < timedelta(seconds=WITHIN)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_all_who_wait_with_a_token_share_its_look_ups(api: Api, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 0)
    token = api.token("claim")
    reads: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "tokens" in statement and statement.lstrip().upper().startswith("SELECT"):
            reads.append(statement)

    event.listen(api.runtime.database.engine, "before_cursor_execute", note)

    async def many() -> None:
        body = {**BODY, "wait": 2.5}
        answers = await asyncio.gather(*(api.send("POST", CLAIMS, token, json=body) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {202}

    api.run(many())
    assert len(reads) <= 4 + 4, "four threads may look it up at first"


def test_a_token_that_cannot_be_looked_up_has_not_ended() -> None:
    told = iter([UnreachableError("away"), ValueError("what"), TokenRevokedError("gone")])

    async def look_up(_token: str) -> None:
        if error := next(told, None):
            raise error

    async def wait() -> None:
        watch = TokenWatch(look_up)
        assert await watch.unless_ended("t", asyncio.sleep(0.01, 5)) == 5
        with pytest.raises(TokenRevokedError):
            await watch.unless_ended("t", asyncio.sleep(60))

    asyncio.run(wait())
