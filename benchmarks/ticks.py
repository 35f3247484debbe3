"""Parts of the rows about the tick: the product's tick, its floors, and a queue that is emptied in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
import redis
from celery import Celery
from sqlalchemy import text

from benchmarks.bench import Bench
from benchmarks.floors import publish
from benchmarks.floors.fetch import Statement, fetch
from benchmarks.recorded import recorded
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.queues import RECONCILE, RECONCILE_PRESET
from prebuild_tasks.reconcile.store.snapshots import read_global
from prebuild_tasks.reconcile.turn import plan_tick


@dataclass
class Ticks:
    """Ticks on one database with one fan-out, and the same work without the product."""

    bench: Bench
    database: Database
    fanout: str

    @cached_property
    def runtime(self) -> Runtime:
        return Runtime(self.bench.settings(self.database, fanout=self.fanout))

    @cached_property
    def queue(self) -> str:
        return self.runtime.settings.queue(RECONCILE)

    @cached_property
    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.bench.redis_url)

    @cached_property
    def app(self) -> Celery:
        return publish.make_app(self.runtime.settings.celery_broker_url, self.queue)

    @cached_property
    def connection(self) -> psycopg.Connection[Any]:
        return self.bench.connect(self.database)

    @cached_property
    def statements(self) -> list[Statement]:
        """Return the snapshot's statements."""
        with self.database.snapshot() as connection, recorded(self.database) as statements:
            read_global(self.database, connection, self.runtime.settings.backoff_lookback)
        return statements

    @cached_property
    def calls(self) -> list[tuple[list[Any], dict[str, Any]]]:
        """Return the arguments of the messages that the product sends."""
        _, preset_ids = plan_tick(self.database, self.runtime.settings)
        return [([preset_id], {"tick": 1}) for preset_id in preset_ids]

    def product(self, _: int) -> float:
        return self._timed(lambda: self.runtime.reconciler.reconcile_all(force=True))

    def snapshot(self, _: int = 0) -> None:
        fetch(self.connection, self.statements)

    def batch(self, _: int) -> float:
        def work() -> None:
            self.snapshot()
            publish.batch(self.app, self.queue, RECONCILE_PRESET, self.calls)

        return self._timed(work)

    def loop(self, _: int) -> float:
        return self._timed(lambda: publish.loop(self.app, self.calls))

    def close(self) -> None:
        self.connection.close()
        self.app.close()
        self.runtime.messages.close()
        self.runtime.close()
        self.redis.close()

    def _timed(self, work: Callable[[], object]) -> float:
        expected = len(self.calls)
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        sent = self.redis.llen(self.queue)
        self.redis.delete(self.queue)
        if sent != expected:
            raise AssertionError(f"{sent} messages instead of {expected}")
        return seconds


@contextmanager
def ticks(bench: Bench, database: Database, fanout: str) -> Iterator[Ticks]:
    made = Ticks(bench, database, fanout)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def drifted(database: Database) -> Iterator[None]:
    """Leave a tenth of the pools two short of their size while the block runs, so that there is work to order."""
    with database.write() as connection:
        connection.execute(text("UPDATE presets SET desired = desired + 2 WHERE id % 10 = 1"))
    try:
        yield
    finally:
        with database.write() as connection:
            connection.execute(text("UPDATE presets SET desired = desired - 2 WHERE id % 10 = 1"))
