"""Claims over HTTP, against an async FastAPI route that checks a token and sends the same statement.

The product also limits rates, compares bodies and wakes workers. Both are one process, with the same settings of
uvicorn and as many connections; the clients are the same.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import text

from benchmarks import doors
from benchmarks.bench import Bench
from benchmarks.clients import Clients, clients, percentile
from benchmarks.doors import Door
from benchmarks.harness import Bound, Result, Row, compare, reported
from benchmarks.population import unclaimed
from prebuild_tasks.db.engine import Database
from tests.support import bulk

PREBUILDS = 12_000
_TEMPLATE, _PRESET = "template-1", "preset-1"
_SIZES = {1: (1, 1), 8: (2, 4), 32: (2, 16)}
"""Numbers of clients: processes, and threads in each."""
_BY_HAND = "an async FastAPI route with its SQL"
_SETTLES = 0.1
"""Seconds after which what follows from an answer is done."""


@dataclass
class _Side:
    """One of the two servers, its clients, and what was measured of it."""

    door: Door
    by: Clients
    each: int
    """Claims of each client in a run."""
    slow: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def run(self, _: int) -> float:
        """Let the clients claim, and return the median of a claim."""
        used, started = self.door.cpu(), time.perf_counter()
        seconds = self.by.run(self.each)
        self.rates.append(len(seconds) / (time.perf_counter() - started))
        time.sleep(_SETTLES)  # what follows from the last answers counts, too
        self.cpu.append((self.door.cpu() - used) / len(seconds))
        self.slow.append(percentile(seconds, 0.99))
        return statistics.median(seconds)


def run(bench: Bench) -> Iterator[Result]:
    database = bench.database("http")
    bulk.pools(database, 1, PREBUILDS)
    token = doors.new_token(database, "portal")
    first_slot = 0
    with doors.product(bench, database) as product, doors.floor(bench, database) as floor:
        for number, (processes, threads) in _SIZES.items():
            bulk.stock(database, PREBUILDS - unclaimed(database), first_slot=first_slot)
            first_slot += PREBUILDS
            each = max(bench.scaled(480, 160) // number, 10)
            with (
                _side(product, processes, threads, each, token) as ours,
                _side(floor, processes, threads, each, token) as theirs,
            ):
                yield from _compared(bench, number, ours, theirs)
    _check(database)
    yield _in_process(bench, database)
    database.close()


@contextmanager
def _side(door: Door, processes: int, threads: int, each: int, token: str) -> Iterator[_Side]:
    arguments = (f"{door.port}", token, f"{_TEMPLATE}/{_PRESET}")
    with clients("benchmarks.floors.asking:claims", processes, threads, *arguments) as by:
        yield _Side(door, by, each)


def _compared(bench: Bench, number: int, product: _Side, floor: _Side) -> Iterator[Result]:
    pairs = bench.scaled(15, 7)
    yield compare(
        15, f"claim over HTTP p50, {number} clients; {_BY_HAND}", product.run, floor.run,
        pairs=pairs, bound=Bound(1.6),
    )  # fmt: skip
    for what, ours, theirs, bound, unit in (
        ("p99", product.slow, floor.slow, Bound(2), "s"),
        ("per second", product.rates, floor.rates, Bound(0.6, "higher"), "/s"),
        ("CPU of the server", product.cpu, floor.cpu, Bound(1.8), "s"),
    ):
        yield Row(15, f"claim over HTTP {what}, {number} clients", ours[1:], theirs[1:], bound, unit)


def _in_process(bench: Bench, database: Database) -> Result:
    """Measure the same claim without HTTP, by one client."""
    calls, figures = bench.scaled(480, 160), {}
    for name in ("product", "client"):
        arguments = (database.url, _TEMPLATE, _PRESET, *([bench.redis_url] if name == "client" else []))
        with clients(f"benchmarks.claimers:{name}", 1, 1, *arguments) as by:
            by.run(20)
            figures[name] = 1000 * statistics.median(by.run(calls))
    return reported(
        15, "claim p50 in process, 1 client", {"claim(), ms": figures["product"], "Client.claim, ms": figures["client"]}
    )


def _check(database: Database) -> None:
    """Raise AssertionError if a workspace was claimed twice, or a claim is not bound to its request."""
    with database.read() as connection:
        query = text("SELECT count(*), count(DISTINCT workspace_id) FROM claim_requests WHERE kind = 'given'")
        requests, distinct = connection.execute(query).one()
        claimed = connection.execute(text("SELECT count(*) FROM workspaces WHERE owner <> 'prebuilds'")).scalar_one()
    assert requests == distinct == claimed, (requests, distinct, claimed)
