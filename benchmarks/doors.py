"""The served API and its floor, a process each, and the CPU that they use."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.bench import Bench, dsn
from benchmarks.processes import BIN, ROOT, environment
from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.claims.quick import texts
from prebuild_tasks.db.engine import Database
from prebuild_tasks.web import ServeOptions

_TOKEN = """
SELECT name, scope, organization, presets, owner, any_owner, expires_at, revoked_at FROM tokens
WHERE digest = %(digest)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())
"""
_GRACE = 15.0


@dataclass(frozen=True)
class Door:
    """A process that answers claims over HTTP."""

    port: int
    process: psutil.Process

    def cpu(self) -> float:
        """Return the seconds of CPU that its threads have used so far; times of a process count in ticks of 10 ms."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def new_token(database: Database, name: str, *, owner: str = "", organization: str = "") -> str:
    """Create a token that may claim: for one owner, or for anyone; in one organization, or in all."""
    request = NewTokenRequest(name=name, scope=Scope.CLAIM, owner=owner, any_owner=not owner, organization=organization)
    return create_token(database, request, actor="bench").text


@contextmanager
def product(bench: Bench, database: Database) -> Iterator[Door]:
    """Serve the API by one process, with limits that are never reached."""
    settings = bench.settings(database)
    environ = environment(settings, PREBUILD_SERVE_RATE="1000000", PREBUILD_SERVE_BURST="1000000000")
    environ["PREBUILD_SERVE_STREAMS_PER_TOKEN"] = "1000"
    environ["PREBUILD_LOG_LEVEL"] = "INFO"  # it writes a line per request, as it does in service
    with _running([BIN / "prebuild", "serve", "--port", "0"], environ, bench.directory / "serve.log") as (
        line,
        process,
    ):
        address = re.search(r":(\d+)/", line)
        assert address, line
        yield Door(int(address[1]), process)


@contextmanager
def floor(bench: Bench, database: Database) -> Iterator[Door]:
    """Serve the floor, with the product's statement and its number of connections."""
    options = ServeOptions()
    request = json.dumps({
        "dsn": dsn(database), "connections": options.connections, "keep_alive": round(options.keep_alive),
        "token": _TOKEN, "claim": texts.CLAIM,
    })  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.floors.door", request]
    with _running(command, environ, bench.directory / "door.log") as (line, process):
        yield Door(int(line), process)


@contextmanager
def fan_out(bench: Bench) -> Iterator[Door]:
    """Serve streams by a plain server, which sends an event to all who listen ten times a second."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.floors.fan_out"]
    with _running(command, environ, bench.directory / "fan_out.log") as (line, process):
        yield Door(int(line), process)


@contextmanager
def _running(
    command: Sequence[str | Path], environ: Mapping[str, str], log: Path
) -> Iterator[tuple[str, psutil.Process]]:
    """Run a server, which prints a line when it listens, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=dict(environ), stdout=subprocess.PIPE, stderr=output, text=True)
    try:
        assert process.stdout
        line = process.stdout.readline().strip()
        if not line:
            raise RuntimeError(log.read_text())
        yield line, psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
