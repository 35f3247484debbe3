"""A tick of the same size against a plain `apply_async` loop."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.harness import Bound, Result, compare
from benchmarks.ticks import drifted, ticks


def run(bench: Bench) -> Iterator[Result]:
    presets = bench.scaled(10_000, 1_000)
    database = bench.populated(presets, 10)
    with drifted(database), ticks(bench, database, "all") as tick:
        yield compare(
            2,
            f"tick, all of {presets:,} presets; apply_async loop",
            tick.product,
            tick.loop,
            pairs=7,
            bound=Bound(0.4),
        )
