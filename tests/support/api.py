"""Requests to the HTTP API without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from prebuild_tasks.access.tokens import create_token, list_tokens
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.web.api import app as application
from prebuild_tasks.web.api.openapi import make_document

NO_REDIS = "redis://127.0.0.1:1/0"


@cache
def _document(base: str) -> JsonObject:
    return make_document(application.OPERATIONS, base)


# It is most of what an application costs, and depends on nothing that a test changes.
application.make_document = lambda _, base: _document(base)


@dataclass(frozen=True)
class Options:
    """What `prebuild serve` would pass."""

    public_url: str = ""
    connections: int = 4
    metrics_open: bool = False
    streams: int = 100
    streams_per_token: int = 20


class Api:
    """The application of one process, and tokens for it."""

    def __init__(self, database: Database, settings: Settings, options: Options, redis_url: str) -> None:
        self.database = database
        self.runtime = Runtime(settings.model_copy(update={"database_url": database.url, "redis_url": redis_url}))
        self.app = application.make_app(self.runtime, options)
        self._runner = asyncio.Runner()
        self.admin = self.token()

    def token(self, scope: str = "admin", **restrictions: Any) -> str:
        """Create a token and return its text."""
        name = restrictions.pop("name", "") or f"t{len(list_tokens(self.database)) + 1}"
        if scope == "claim" and not restrictions.get("owner"):
            restrictions.setdefault("any_owner", True)
        request = NewTokenRequest(name=name, scope=Scope(scope), **restrictions)
        return create_token(self.database, request, actor="test").text

    def call(self, method: str, path: str, token: str | None = None, **request: Any) -> httpx.Response:
        """Send a request, by default with the token of an administrator; an empty token: without one."""
        return self.run(self.send(method, path, token, **request))

    async def send(self, method: str, path: str, token: str | None = None, **request: Any) -> httpx.Response:
        """Send a request within a coroutine."""
        token = self.admin if token is None else token
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **request.pop("headers", {})}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, headers=headers, **request)

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine in the loop of this application."""
        return self._runner.run(coroutine)

    def get(self, path: str, token: str | None = None, **request: Any) -> httpx.Response:
        return self.call("GET", path, token, **request)

    def post(self, path: str, token: str | None = None, **request: Any) -> httpx.Response:
        return self.call("POST", path, token, **request)

    def close(self) -> None:
        self.run(self.app.state.door.close())
        self.runtime.close()
        self._runner.close()


@contextmanager
def serving(
    database: Database, settings: Settings, options: Options | None = None, *, redis_url: str = NO_REDIS
) -> Iterator[Api]:
    """Make the application, and close what it opened."""
    api = Api(database, settings, options or Options(), redis_url)
    try:
        yield api
    finally:
        api.close()
