"""Acquiring and releasing a preset's lock with its row lock, against the bare commands."""

from __future__ import annotations

from collections.abc import Iterator

import redis

from benchmarks.bench import Bench
from benchmarks.floors import create
from benchmarks.harness import Bound, Result, compare
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.schema.row_locks import lock_preset
from tests.support import bulk


def run(bench: Bench) -> Iterator[Result]:
    each = bench.scaled(200, 100)
    database = bench.database("locks")
    bulk.pools(database, each, 1)
    runtime = Runtime(bench.settings(database))
    connection = bench.connect(database)

    def product(_: int) -> None:
        for preset_id in range(1, each + 1):
            with runtime.locks.preset(str(preset_id)) as lease, database.write() as writing:
                assert lease.held
                assert lock_preset(writing, preset_id)

    with redis.Redis.from_url(bench.redis_url) as client:

        def floor(_: int) -> None:
            for preset_id in range(1, each + 1):
                create.lock(client, connection, preset_id)

        what = f"lock and row lock, {each} times; SET NX PX, row lock, DEL"
        yield compare(8, what, product, floor, pairs=bench.scaled(21, 11), bound=Bound(1.7))
    connection.close()
    runtime.close()
