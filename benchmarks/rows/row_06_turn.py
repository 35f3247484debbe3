"""Turns that find nothing to do, end to end through a worker, against a task with the same Redis calls and statements.

Both workers have the same options of Celery: late acknowledgement, one message at a time, time limits, events.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis
from celery import Celery

from benchmarks.bench import Bench, dsn
from benchmarks.floors import publish
from benchmarks.harness import Bound, Result, compare
from benchmarks.processes import environment, running, until, worked_off
from benchmarks.recorded import recorded
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.queues import RECONCILE, RECONCILE_PRESET
from prebuild_tasks.reconcile import locks
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.worker.config import HARD_LIMIT, SOFT_LIMIT
from tests.support import bulk

_PRESETS = 200
_STAGE, _FLOOR = "bench.stage", "floor.turns"


def run(bench: Bench) -> Iterator[Result]:
    tasks = bench.scaled(1_500, 300)
    database = bench.database("turns")
    bulk.pools(database, _PRESETS, 10)
    bulk.stock(database, 10)
    runtime = Runtime(bench.settings(database))
    instructions = _instructions(bench, database, runtime)
    product = ["-A", "prebuild_tasks", "worker", "-n", "product@%h", "-c", "2", "-Q", runtime.settings.queue(RECONCILE)]
    floor = ["-A", "benchmarks.floors.worker", "worker", "-n", "floor@%h", "-c", "2"]
    environ = environment(runtime.settings, FLOOR=str(instructions))
    with (
        redis.Redis.from_url(bench.redis_url) as client,
        running(product, environ, bench.directory / "product.log"),
        running(floor, environ, bench.directory / "floor.log"),
    ):
        app = publish.make_app(runtime.settings.celery_broker_url, _STAGE)

        def rate(queue: str, task: str) -> Callable[[int], float]:
            return lambda _: tasks / _worked(client, app, queue, task, tasks)

        yield compare(
            6, "turns with nothing to do, through a worker; same calls", rate(runtime.settings.queue(RECONCILE),
            RECONCILE_PRESET), rate(_FLOOR, "floor.turn"), pairs=bench.scaled(15, 7), bound=Bound(0.75, "higher"),
            unit="/s",
        )  # fmt: skip
        app.close()
    runtime.close()
    database.close()


def _worked(client: redis.Redis, app: Celery, queue: str, task: str, number: int) -> float:
    """Send messages all at once, and measure the seconds until the queue is empty."""
    publish.batch(app, _STAGE, task, [([str(turn % _PRESETS + 1)], {}) for turn in range(number)])
    started = time.perf_counter()
    client.rename(_STAGE, queue)
    until(lambda: worked_off(client, queue), f"{task} worked off", timeout=120)
    return time.perf_counter() - started


def _instructions(bench: Bench, database: Database, runtime: Runtime) -> Path:
    """Write the floor's instructions: the recorded statements of a turn, and the lock's scripts."""
    with recorded(database) as statements:
        assert reconcile_preset(database, runtime.settings, 1).outcome == "steady"
    names = [f"floor:{name}:{{id}}" for name in ("lock", "again")]
    instructions = {
        "broker": runtime.settings.celery_broker_url,
        "redis": bench.redis_url,
        "queue": _FLOOR,
        "hard": HARD_LIMIT,
        "soft": SOFT_LIMIT,
        "dsn": dsn(database),
        "statements": statements,
        "scripts": [
            (locks.ACQUIRE, [*names, "floor:tick-number"], ["token", 60_000, 300_000, 0]),
            (locks.RELEASE, names, ["token"]),
        ],
    }
    path = bench.directory / "floor.json"
    path.write_text(json.dumps(instructions, default=lambda wrapped: json.dumps(wrapped.obj)))  # psycopg wraps JSON
    return path
