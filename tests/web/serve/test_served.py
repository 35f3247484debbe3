"""The application with what stands before its routes: it lets requests through, or refuses them with a problem."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from prebuild_tasks.access import authenticator
from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.web.serve.measures import Measures
from prebuild_tasks.web.serve.options import ServeOptions
from prebuild_tasks.web.serve.rate import BAD_TOKENS
from prebuild_tasks.web.serve.served import make_served
from tests.support.api import NO_REDIS
from tests.support.wait import wait_until

BAD, IN_PATH = "pbt_" + "A" * 43, "pbt_" + "B" * 43

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def good(database: Database) -> str:
    return create_token(database, NewTokenRequest(name="reader", scope=Scope.READ), actor="test").text


@pytest.fixture
def serving(database: Database, settings: Settings) -> Settings:
    return settings.model_copy(update={"database_url": database.url, "redis_url": NO_REDIS})


@asynccontextmanager
async def client_of(settings: Settings, options: ServeOptions | None = None) -> AsyncIterator[httpx.AsyncClient]:
    served = make_served(settings, options or ServeOptions())
    transport = httpx.ASGITransport(app=served.app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8300") as client:
        yield client
    await shut_down(served.app)
    served.close()


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_bad_tokens_are_refused_and_good_ones_let_through(serving: Settings, good: str) -> None:
    """A token that was malformed, or known to be bad, used to be answered with a 500."""

    async def ask() -> list[httpx.Response]:
        async with client_of(serving) as client:
            tokens = ("x", BAD, BAD, good, good)
            answers = [await client.get("/v1/pools", headers=bearing(token)) for token in tokens]
            return [*answers, await client.get("/metrics", headers=bearing(good))]

    *asked, metrics = asyncio.run(ask())
    assert [answer.status_code for answer in asked] == [401, 401, 401, 200, 200]
    assert {answer.headers["Content-Type"] for answer in asked[:3]} == {"application/problem+json"}
    assert 'prebuild_http_refused_tokens_total{reason="invalid"} 3.0' in metrics.text


def test_bad_tokens_block_neither_good_ones_of_their_address_nor_open_routes(
    serving: Settings, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One expired token in a cron job used to shut out everybody behind the same address for a minute."""
    monkeypatch.setattr(authenticator, "CACHED_S", 0.0)  # no answer of a moment ago helps

    async def ask() -> tuple[list[httpx.Response], list[httpx.Response]]:
        async with client_of(serving, ServeOptions(metrics_open=True)) as client:
            for _ in range(BAD_TOKENS + 1):
                assert (await client.get("/v1/pools", headers=bearing(BAD))).status_code == 401
            refused = [await client.get("/v1/pools", headers=bearing(token)) for token in (BAD, "x")]
            answered = [await client.get("/v1/pools", headers=bearing(good)) for _ in range(3)]
            for path in ("/livez", "/readyz", "/docs", "/metrics"):
                answered += [await client.get(path, headers=bearing(BAD))]
            return refused, answered

    refused, answered = asyncio.run(ask())
    assert [answer.status_code for answer in refused] == [429, 429]
    assert [int(answer.headers["Retry-After"]) <= 60 for answer in refused] == [True, True]
    assert [answer.status_code for answer in answered] == [200] * 7


def test_requests_of_a_token_are_limited_reads_apart_from_changes(serving: Settings, good: str) -> None:
    async def ask() -> list[httpx.Response]:
        async with client_of(serving, ServeOptions(rate=0.1, burst=2)) as client:
            reads = [await client.get("/v1/workspaces/ada/none", headers=bearing(good)) for _ in range(3)]
            return [*reads, await client.post("/v1/claims", headers=bearing(good), json={})]

    asked = asyncio.run(ask())
    assert [answer.status_code for answer in asked] == [404, 404, 429, 403]
    limited = ["ratelimit-limit" in answer.headers for answer in asked]
    assert limited == [False, False, True, False]
    assert asked[2].json()["type"].endswith("rate-limited")
    assert 1 <= int(asked[2].headers["Retry-After"]) <= 20  # however much of the window of 20 s is left


def test_head_is_answered_as_get_without_a_body(serving: Settings, good: str) -> None:
    async def ask() -> list[httpx.Response]:
        async with client_of(serving) as client:
            probes = [await client.head(path) for path in ("/livez", "/readyz")]
            return [*probes, await client.head("/v1/pools", headers=bearing(good)), await client.head("/v1/pools")]

    asked = asyncio.run(ask())
    assert [answer.status_code for answer in asked] == [200, 200, 200, 401]
    assert {answer.content for answer in asked} == {b""}
    assert "etag" in asked[2].headers


def test_lines_of_the_log_name_a_route_and_no_token_whatever_the_answer(
    serving: Settings, good: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[tuple[int, str, tuple[str, str], dict[str, Any]]] = [
        (200, "/v1/pools", ("GET", "/v1/pools"), {"headers": bearing(good)}),
        (401, "/v1/pools", ("GET", "/v1/pools"), {}),
        (401, "/v1/pools", ("GET", "/v1/pools"), {"headers": bearing(BAD)}),
        (401, "/v1/pools", ("GET", "/v1/pools"), {"headers": {"Authorization": f"Basic {good}"}}),
        (401, "/v1/workspaces/{owner}/{name}", ("GET", f"/v1/workspaces/ada/{IN_PATH}"), {"headers": bearing(BAD)}),
        (403, "/v1/claims", ("POST", "/v1/claims"), {"headers": bearing(good), "json": {"owner": IN_PATH}}),
        (404, "/v1/workspaces/{owner}/{name}", ("GET", f"/v1/workspaces/ada/{IN_PATH}"), {"headers": bearing(good)}),
        (404, "(none)", ("GET", f"/v1/nothing/{IN_PATH}"), {"headers": bearing(good), "params": {"token": IN_PATH}}),
        (404, "(none)", ("GET", f"/{IN_PATH}"), {}),
        (405, "/v1/pools", ("PUT", "/v1/pools"), {"headers": bearing(good), "params": {"token": IN_PATH}}),
        (413, "/v1/claims", ("POST", "/v1/claims"), {"headers": bearing(good), "content": good.encode() * 50_000}),
        (415, "/v1/claims", ("POST", "/v1/claims"), {"headers": bearing(good), "content": good.encode()}),
        (400, "(none)", ("GET", "/v1/pools"), {"headers": {**bearing(good), "Host": f"{IN_PATH}.example"}}),
        (400, "/v1/pools", ("GET", "/v1/pools"), {"headers": bearing(good), "params": {IN_PATH: IN_PATH}}),
    ]

    async def ask() -> tuple[list[httpx.Response], str]:
        async with client_of(serving) as client:
            answered = [await client.request(*request, **more) for _, _, request, more in asked]
            return answered, (await client.get("/metrics", headers=bearing(good))).text

    with caplog.at_level(logging.DEBUG):
        answered, metrics = asyncio.run(ask())
    assert [answer.status_code for answer in answered] == [status for status, *_ in asked]
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("prebuild_tasks")]
    lines = [line for line in logged if "event='request'" in line]
    assert len(lines) == len(asked)
    for line, (status, route, _, _) in zip(lines, asked, strict=True):
        assert [part for part in (f"route='{route}'", f"status={status}") if part not in line] == [], line
    assert "pbt_" not in "\n".join([*logged, metrics])
    assert [answer.text for answer in answered if good in answer.text or BAD in answer.text] == []


async def shut_down(app: Any) -> None:
    """End the application as a server does."""
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(_message: Any) -> None:
        """Nobody reads it."""

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)


def test_a_connection_shows_while_the_request_that_uses_it_hangs(
    serving: Settings, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It showed once a request of its process had ended: never, if all hung."""
    measures, released = Measures(), threading.Event()
    monkeypatch.setattr("prebuild_tasks.web.serve.served.Measures", lambda: measures)
    monkeypatch.setattr("prebuild_tasks.web.api.routes.pools.list_pools", lambda *_, **__: released.wait() and [])

    async def ask() -> None:
        async with client_of(serving) as client:
            hanging = asyncio.create_task(client.get("/v1/pools", headers=bearing(good)))
            try:
                await asyncio.to_thread(wait_until, lambda: _shown(measures) == 1, what="one in use")
            finally:
                released.set()
            assert (await hanging).status_code == 200
            await asyncio.to_thread(wait_until, lambda: _shown(measures) == 0, what="none in use")

    asyncio.run(ask())


def _shown(measures: Measures) -> float:
    lines = [line for line in measures.render().splitlines() if line.startswith("prebuild_http_connections_in_use ")]
    return float(lines[0].split()[1])
