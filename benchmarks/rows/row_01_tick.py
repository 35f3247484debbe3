"""A tick that sends a message for every pool, against the same messages and statements without the product."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.harness import Bound, Result, compare
from benchmarks.ticks import drifted, ticks


def run(bench: Bench) -> Iterator[Result]:
    presets = bench.scaled(10_000, 2_000)
    database = bench.populated(presets, 10)
    with drifted(database), ticks(bench, database, "all") as tick:
        yield compare(
            1,
            f"tick, all of {presets:,} presets; Producer.batch + snapshot SQL",
            tick.product,
            tick.batch,
            pairs=bench.scaled(15, 9),
            bound=Bound(1.3),
        )
