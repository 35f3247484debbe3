"""The time from a claim's answer until the replacement's build is taken, while a whole tick's messages are queued.

Worker and builds worker run as the Procfile starts them. Judged absolutely, as users wait for it if a pool is empty.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import redis
from sqlalchemy import text

from benchmarks.bench import Bench
from benchmarks.clients import percentile
from benchmarks.harness import Absolute, Bound, Result
from benchmarks.processes import staffed, until
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.queues import RECONCILE
from prebuild_tasks.workspaces.outbox import send
from tests.support import bulk

_PRESETS = 10_000
_CLAIMED = 20
"""Number of presets that are really built, and claimed from in turn."""
_TAKEN = text("SELECT count(*) FROM builds WHERE preset_id = :preset AND reason = 'deficit' AND attempt > 0")


def run(bench: Bench) -> Iterator[Result]:
    claims = bench.scaled(200, 60)
    database = bench.database("refill")
    bulk.pools(database, _PRESETS, 1)
    bulk.stock(database, 1)
    with database.write() as connection:
        for statement in ("DELETE FROM builds WHERE preset_id <= :n", "DELETE FROM workspaces WHERE preset_id <= :n"):
            connection.execute(text(statement), {"n": _CLAIMED})
    settings = bench.settings(database)
    runtime = Runtime(settings)
    with redis.Redis.from_url(bench.redis_url) as client, staffed(settings, "worker", "builds"):
        client.flushdb()
        runtime.messages.reconcile([str(preset) for preset in range(1, _CLAIMED + 1)])
        until(lambda: _ready(database) == _CLAIMED, "the pools that are claimed from are full")
        taken, left = [], []
        for number in range(claims):
            if client.llen(settings.queue(RECONCILE)) < _PRESETS // 2:
                runtime.messages.reconcile([str(preset) for preset in range(1, _PRESETS + 1)], tick=1)
            taken.append(_refill(runtime, database, number % _CLAIMED + 1, number))
            left.append(client.llen(settings.queue(RECONCILE)))
    assert min(left) > 0
    notes = {"p50, ms": 1000 * statistics.median(taken), "claims": claims, "fewest messages queued": min(left)}
    what = f"refill behind {_PRESETS:,} messages, p99"
    yield Absolute(9, what, [percentile(taken, 0.99)], Bound(1.0), notes=notes)
    runtime.messages.close()
    runtime.close()
    database.close()


def _refill(runtime: Runtime, database: Database, preset: int, number: int) -> float:
    """Measure the seconds from the answer until a builds worker has taken the replacement."""
    until(lambda: _ready(database, preset) == 1, "the pool is full again")
    before = _started(database, preset)
    request = ClaimRequest(owner=f"person-{number}", presets=[f"template-{preset}/preset-{preset}"])
    claimed = claim(database, request)
    answered = time.perf_counter()
    send(database, runtime.messages, claimed.follow_up)
    until(lambda: _started(database, preset) > before, "the replacement's build is taken", pause=0.005)
    return time.perf_counter() - answered


def _started(database: Database, preset: int) -> int:
    with database.read() as connection:
        return int(connection.execute(_TAKEN, {"preset": preset}).scalar_one())


def _ready(database: Database, preset: int | None = None) -> int:
    query = "SELECT count(*) FROM workspaces WHERE owner = 'prebuilds' AND ready_at IS NOT NULL AND deleted_at IS NULL"
    with database.read() as connection:
        if preset is None:
            return int(connection.execute(text(f"{query} AND preset_id <= :n"), {"n": _CLAIMED}).scalar_one())
        return int(connection.execute(text(f"{query} AND preset_id = :n"), {"n": preset}).scalar_one())
