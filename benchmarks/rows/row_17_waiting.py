"""Claims over HTTP beside 500 that wait in the same process, against a process of the same kind in which none waits."""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import text

from benchmarks import doors
from benchmarks.bench import Bench
from benchmarks.clients import Clients, clients, percentile
from benchmarks.doors import Door
from benchmarks.floors.asking import exchange
from benchmarks.harness import Absolute, Bound, Result, Row, absolute, compare
from prebuild_tasks.db.engine import Database
from tests.support import bulk

_WAITING = 500
_CLIENTS = (1, 2)
"""Processes, and threads in each."""
_READY, _EMPTY = "template-1/preset-1", "template-2/preset-2"
_LIVEZ = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_LOOKS = 50


def run(bench: Bench) -> Iterator[Result]:
    database = bench.database("waiting")
    each, pairs = bench.scaled(200, 120), bench.scaled(25, 9)
    bulk.pools(database, 2, 10)
    bulk.stock(database, 2 * (pairs + 1) * each * _CLIENTS[0] * _CLIENTS[1] + 100)
    with database.write() as connection:
        connection.execute(text("UPDATE workspaces SET deleted_at = now(), slot = NULL WHERE preset_id = 2"))
    token = doors.new_token(database, "portal")
    with (
        doors.product(bench, database) as busy, doors.product(bench, database) as calm,
        _waiting(busy, token), _claiming(busy, token) as beside, _claiming(calm, token) as alone,
    ):  # fmt: skip
        yield from _compared(beside, alone, each, pairs)
        yield _livez(busy, pairs)
    assert _reserved(database) == _WAITING, "each waited for a workspace of its own"
    database.close()


def _compared(beside: Clients, alone: Clients, each: int, pairs: int) -> Iterator[Result]:
    slow: dict[Clients, list[float]] = {beside: [], alone: []}

    def claim(by: Clients, _: int) -> float:
        seconds = by.run(each)
        slow[by].append(percentile(seconds, 0.99))
        return statistics.median(seconds)

    yield compare(
        17, f"claim over HTTP p50, 2 clients, beside {_WAITING} that wait; without", partial(claim, beside),
        partial(claim, alone), pairs=pairs, bound=None,
    )  # fmt: skip
    yield Row(17, "claim over HTTP p99, 2 clients, beside them", slow[beside][1:], slow[alone][1:], Bound(1.5))


@contextmanager
def _waiting(door: Door, token: str) -> Iterator[None]:
    """Let so many claims wait until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.floors.waiting", f"{door.port}", token, _EMPTY, f"{_WAITING}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert process.stdout
        assert process.stdout.readline() == "waiting\n"
        yield
        assert process.poll() is None, "each has waited to the end"
    finally:
        process.communicate()


@contextmanager
def _claiming(door: Door, token: str) -> Iterator[Clients]:
    with clients("benchmarks.floors.asking:claims", *_CLIENTS, f"{door.port}", token, _READY) as by:
        yield by


def _livez(door: Door, times: int) -> Absolute:
    """Measure the slowest of several answers."""
    with socket.create_connection(("127.0.0.1", door.port)) as connection:

        def slowest(_: int) -> float:
            taken = []
            for _look in range(_LOOKS):
                started = time.perf_counter()
                exchange(connection, _LIVEZ, b"200")
                taken.append(time.perf_counter() - started)
                time.sleep(0.01)
            return max(taken)

        return absolute(17, f"/livez, the slowest of {_LOOKS}, while they wait", slowest, times=times, bound=Bound(0.1))


def _reserved(database: Database) -> int:
    with database.read() as connection:
        query = text("SELECT count(*) FROM claim_requests WHERE kind = 'reserved'")
        return int(connection.execute(query).scalar_one())
