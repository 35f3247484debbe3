"""Processes of `prebuild serve` on a database of a test, as forks where that is possible."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from tests.support import fork_server
from tests.support.api import NO_REDIS
from tests.support.builders import fill, finish_builds, staffed
from tests.support.fork_server import SERVING
from tests.support.http import NO_TLS, free_port
from tests.support.pool_files import load_text
from tests.support.service import Service
from tests.support.wait import wait_until

FULL, NONE = "full/small", "none/small"
_POOLS = """
schema: 1
templates:
  - {{name: full, provisioner: simulated, config: {{}}, presets: [{{name: small, desired: {desired}}}]}}
  - {{name: none, provisioner: simulated, config: {{}}, presets: [{{name: small, desired: 0}}]}}
"""


class Doors(Service):
    """The serving processes of one database."""

    def __init__(self, place: Path, database_url: str, redis_url: str, **environment: str) -> None:
        super().__init__(
            place / "doors" / "data",
            PREBUILD_DATABASE_URL=database_url,
            PREBUILD_REDIS_URL=redis_url,
            PREBUILD_HEARTBEAT_TIMEOUT="10m",  # the workers that `stock` reports are there for as long
            PREBUILD_SERVE_RATE="1000",
            PREBUILD_SERVE_BURST="4000",
            **environment,
        )
        if sys.platform == "linux":
            self.serve_forks = fork_server.shared(SERVING)

    def token(self, name: str = "portal") -> str:
        """Create a token that may do everything, and return its text."""
        request = NewTokenRequest(name=name, scope=Scope.ADMIN)
        return self.asked(lambda database, _: create_token(database, request, actor="test").text)

    def stock(self, ready: int) -> None:
        """Declare the pool `FULL` with so many ready prebuilds, and the pool `NONE` without any; report workers."""

        def write(database: Database, settings: Settings) -> None:
            apply(database, settings, load_text(_POOLS.format(desired=ready)), ApplyOptions(actor="test"))
            fill(database, settings, FULL)
            staffed(database, settings)

        self.asked(write)

    def finish_builds(self) -> int:
        """End what is being built, as a builds worker would."""
        return self.asked(lambda database, _: finish_builds(database))

    def serve(self, *options: str, port: int = 0) -> tuple[str, subprocess.Popen[str]]:
        """Start a serving process, and return its address once it is ready."""
        port = port or free_port()
        process = self.start("serve", "--port", str(port), *options, program="prebuild")
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: process.poll() is not None or word(url) == "ready", what=f"{url} ready")
        assert process.poll() is None, self.output()
        return url, process


def word(url: str) -> str:
    """Return what /readyz says; empty: nothing."""
    try:
        return httpx.get(f"{url}/readyz", trust_env=False, timeout=10, verify=NO_TLS).text
    except httpx.TransportError:
        return ""


def portal(url: str, token: str) -> httpx.Client:
    """Return a client of an address that presents a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False, verify=NO_TLS)


@contextmanager
def doors(place: Path, database_url: str, redis_url: str = NO_REDIS, **environment: str) -> Iterator[Doors]:
    """Begin without a process, and end those that the test starts."""
    made = Doors(place, database_url, redis_url, **environment)
    made.data_dir.mkdir()
    try:
        yield made
    finally:
        made.kill()
