"""The application with what stands before its routes: it lets requests through, or refuses them with a problem."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.web.serve.options import ServeOptions
from prebuild_tasks.web.serve.served import make_served
from tests.support.api import NO_REDIS


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_bad_tokens_are_refused_and_good_ones_let_through(database: Database, settings: Settings) -> None:
    """A token that was malformed, or known to be bad, used to be answered with a 500."""
    request = NewTokenRequest(name="reader", scope=Scope.READ)
    good = create_token(database, request, actor="test").text
    served = make_served(
        settings.model_copy(update={"database_url": database.url, "redis_url": NO_REDIS}), ServeOptions()
    )

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=served.app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8300") as client:
            tokens = ("x", "pbt_" + "A" * 43, "pbt_" + "A" * 43, good, good)
            answers = [await client.get("/v1/pools", headers={"Authorization": f"Bearer {token}"}) for token in tokens]
            answers.append(await client.get("/metrics", headers={"Authorization": f"Bearer {good}"}))
        await shut_down(served.app)
        return answers

    *asked, metrics = asyncio.run(ask())
    assert [answer.status_code for answer in asked] == [401, 401, 401, 200, 200]
    assert {answer.headers["Content-Type"] for answer in asked[:3]} == {"application/problem+json"}
    assert 'prebuild_http_refused_tokens_total{reason="invalid"} 3.0' in metrics.text


async def shut_down(app: Any) -> None:
    """End the application as a server does."""
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(_message: Any) -> None:
        """Nobody reads it."""

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
