"""The HTTP API on a local port, with pools that are refilled as by workers, for requests that a program makes up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import resume
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.web.serve import rate
from prebuild_tasks.web.serve.options import ServeOptions
from prebuild_tasks.web.serve.protocol import ProblemProtocol
from prebuild_tasks.web.serve.served import make_served
from tests.support.builders import fill, finish_builds, staffed, turn
from tests.support.http import free_port
from tests.support.pool_files import load_text
from tests.support.wait import wait_until

POOLS = """
schema: 1
templates:
  - name: python-dev
    config: {start: 'true'}
    presets:
      - {name: small, desired: 6, claimed_ttl: 30d}
      - {name: unstocked, desired: 0, claimed_ttl: 30d}
"""
"""The names are those of the examples in the OpenAPI document."""
SMALL, UNSTOCKED = "python-dev/small", "python-dev/unstocked"
PAUSE = 2.0
"""Seconds between two rounds of what workers do."""
UNLIMITED = 10**9


@dataclass(frozen=True)
class Served:
    """An API that answers."""

    url: str
    token: str
    database: Database


class Workers(threading.Thread):
    """Does what beat and workers do: refills pools, ends builds. What is paused is resumed, or nothing would go on."""

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__(name="workers")
        self._database, self._settings, self._over = database, settings, threading.Event()

    def run(self) -> None:
        while not self._over.wait(PAUSE):
            with suppress(AssertionError):  # a request has just ended a build
                finish_builds(self._database)
            for name in ("", SMALL):
                resume(self._database, name, actor="test")
            turn(self._database, self._settings, SMALL)
            staffed(self._database, self._settings)

    def stop(self) -> None:
        self._over.set()
        self.join(60)


@contextmanager
def stocked_door(database_url: str, redis_url: str, directory: Path) -> Iterator[Served]:
    """Serve an installation with a pool, and a workspace of ada's, for as long as the block lasts."""
    settings = Settings(data_dir=directory, host="here", database_url=database_url, redis_url=redis_url)
    database = Database(database_url)
    apply(database, settings, load_text(POOLS), ApplyOptions(actor="test"))
    fill(database, settings, SMALL)
    claim(database, ClaimRequest(owner="ada", presets=[SMALL], name="brave-otter"))
    token = create_token(database, NewTokenRequest(name="conformance", scope=Scope.ADMIN), actor="test").text
    workers = Workers(database, settings)
    workers.start()
    try:
        with listening(settings) as url:
            yield Served(url, token, database)
    finally:
        workers.stop()
        database.close()


@contextmanager
def listening(settings: Settings) -> Iterator[str]:
    """Serve on a free port, and yield the address."""
    port, before = free_port(), rate.BAD_TOKENS
    rate.BAD_TOKENS = UNLIMITED  # all requests come from one address
    options = ServeOptions(port=port, rate=float(UNLIMITED), burst=UNLIMITED)
    config = uvicorn.Config(
        "made below", port=port, http=ProblemProtocol, ws="none", lifespan="on", log_config=None, server_header=False
    )
    server = uvicorn.Server(config)
    loop: asyncio.AbstractEventLoop
    ends_streams: asyncio.Event

    def stop() -> None:
        ends_streams.set()
        server.should_exit = True

    async def serve() -> None:
        nonlocal loop, ends_streams
        served = make_served(settings, options)
        loop, ends_streams, config.app = asyncio.get_running_loop(), served.stopping, served.app
        try:
            await server.serve()
        finally:
            served.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="server")
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), what="the server")
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(stop)
        thread.join(60)
        rate.BAD_TOKENS = before
