"""A turn that creates 100 prebuilds, to its commit, against inserting the same rows; and publishing their builds."""

from __future__ import annotations

from collections.abc import Iterator

import redis

from benchmarks.bench import Bench
from benchmarks.floors import create
from benchmarks.floors import publish as floor
from benchmarks.harness import Bound, Result, compare
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.messaging.queues import BUILDS, RUN_BUILD
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.workspaces import outbox
from prebuild_tasks.workspaces.follow_ups import FollowUp
from tests.support import bulk

COUNT = 100
_EACH = 4
"""Number of presets in one run."""


def run(bench: Bench) -> Iterator[Result]:
    pairs = bench.scaled(21, 9)
    database = bench.database("create")
    number = 2 * (pairs + 1) * _EACH
    bulk.pools(database, number, COUNT)
    bulk.analyze(database)
    runtime = Runtime(bench.settings(database))
    connection = bench.connect(database)
    with database.read() as reading:
        now = database.now(reading)
    presets = iter(range(1, number + 1))
    follow_ups: list[FollowUp] = []

    def product(_: int) -> None:
        for _turn in range(_EACH):
            result = reconcile_preset(database, runtime.settings, next(presets))
            assert result.created == COUNT
            follow_ups[:] = [result.follow_up]

    def insert(_: int) -> None:
        for _turn in range(_EACH):
            create.insert(connection, next(presets), COUNT, now)

    yield compare(
        7, f"turn that creates {COUNT}; two multi-row inserts", product, insert, pairs=pairs, bound=Bound(1.5)
    )
    queue = runtime.settings.queue(BUILDS)
    app = floor.make_app(runtime.settings.celery_broker_url, queue)
    calls = [([build.id], {}) for build in follow_ups[0].builds]
    with redis.Redis.from_url(bench.redis_url) as client:

        def send(_: int) -> None:
            for _turn in range(_EACH):
                assert outbox.send(database, runtime.messages, follow_ups[0]) == COUNT
            assert client.delete(queue)

        def batch(_: int) -> None:
            for _turn in range(_EACH):
                floor.batch(app, queue, RUN_BUILD, calls)
            assert client.delete(queue)

        yield compare(
            7, f"publishing {COUNT} builds, and noting it; Producer.batch", send, batch, pairs=pairs, bound=Bound(1.3)
        )
    app.close()
    connection.close()
    runtime.messages.close()
    runtime.close()
