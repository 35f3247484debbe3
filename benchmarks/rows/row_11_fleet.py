"""A fleet of 10,000 pools on the simulated provisioner through real Celery, while people claim for three minutes.

Beat, a worker and a builds worker run as the Procfile starts them, on pools that they have filled. Reported, not
judged; it fails only if the pools do not become full again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import redis
from sqlalchemy import text

from benchmarks.bench import Bench
from benchmarks.harness import Result, reported
from benchmarks.processes import family, staffed, until
from benchmarks.recorded import recorded
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.claims.take import claim_and_wake
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.reconcile.turn import plan_tick
from tests.support import bulk

LONG = True
_RATE = 10.0
"""Claims per second."""
_NEVER = "86400"
"""Seconds between searches for strays, and between probes: longer than the run, so that there are none."""
_READY = "SELECT count(*) FROM workspaces WHERE owner = 'prebuilds' AND ready_at IS NOT NULL AND deleted_at IS NULL"


def run(bench: Bench) -> Iterator[Result]:
    presets, seconds = bench.scaled(10_000, 300), bench.scaled(180, 20)
    database = bench.database("fleet")
    bulk.pools(database, presets, 1)
    with database.write() as connection:
        query = text("UPDATE template_versions SET config = CAST(:config AS jsonb)")
        connection.execute(query, {"config": '{"build_time": {"exponential": 0.2}}'})
    settings = bench.settings(database)
    runtime = Runtime(settings)
    more = {"PREBUILD_PROBE_INTERVAL": _NEVER, "PREBUILD_RESOURCE_SWEEP_INTERVAL": _NEVER}
    more |= {"PREBUILD_BUILD_CONCURRENCY": "16", "PREBUILD_TASK_EVENTS": "0"}
    with (
        redis.Redis.from_url(bench.redis_url) as client,
        staffed(settings, "worker", "builds", "beat", **more) as staff,
    ):
        client.flushdb()
        begun = time.perf_counter()
        until(lambda: _ready(database) == presets, "every pool is full", timeout=1_800, pause=1)
        filled = time.perf_counter() - begun
        before = sum(_cpu(process) for process in staff)
        figures = _claims(runtime, database, presets, seconds)
        last = time.perf_counter()
        until(lambda: _ready(database) == presets, "every pool is full again", timeout=600, pause=0.1)
        figures["full again after the last claim, s"] = time.perf_counter() - last
        spent = sum(_cpu(process) for process in staff) - before
    with recorded(database) as statements:
        plan_tick(database, settings)
    with database.read() as connection:
        size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    figures |= {
        "CPU of the workers and beat, s per 1,000 claims": 1000 * spent / figures["claims"],
        "filled at first in, s": filled,
        "database, MiB": size / (1 << 20),
        "statements per tick": len(statements),
    }
    yield reported(11, f"fleet of {presets:,} pools, {_RATE:g} claims a second for {seconds} s", figures)
    runtime.messages.close()
    runtime.close()
    database.close()


def _claims(runtime: Runtime, database: Database, presets: int, seconds: float) -> dict[str, Any]:
    """Claim one after another from random pools; a tenth of the pools gets half of the claims."""
    chance, hits, misses, lowest, taken = random.Random(7), 0, 0, presets, []
    begun = time.perf_counter()
    while (now := time.perf_counter() - begun) < seconds:
        if (early := (hits + misses) / _RATE - now) > 0:
            time.sleep(early)
        preset = chance.randint(1, presets // 10 if chance.random() < 0.5 else presets)
        request = ClaimRequest(owner=f"person-{hits + misses}", presets=[f"template-{preset}/preset-{preset}"])
        started = time.perf_counter()
        try:
            claim_and_wake(database, runtime.settings, runtime.messages, request)
            hits += 1
        except ClaimMissError:
            misses += 1
        taken.append(time.perf_counter() - started)
        if (hits + misses) % 50 == 0:
            lowest = min(lowest, _ready(database))
    taken.sort()
    return {
        "claims": hits + misses,
        "hit rate": hits / (hits + misses),
        "claim with its messages p50, ms": 1000 * taken[len(taken) // 2],
        "claim with its messages p99, ms": 1000 * taken[int(len(taken) * 0.99)],
        "fewest ready at once": lowest,
    }


def _ready(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(text(_READY)).scalar_one())


def _cpu(process: Any) -> float:
    """Return the CPU seconds that a worker and its children have used so far."""
    used = 0.0
    for each in family(process):
        times = each.cpu_times()
        used += times.user + times.system
    return used
