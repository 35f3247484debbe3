"""A tick with nothing to do, sending to drifted pools only, against the bare statements; it sends no message."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.harness import Bound, Result, compare
from benchmarks.ticks import ticks


def run(bench: Bench) -> Iterator[Result]:
    presets = bench.scaled(10_000, 2_000)
    with ticks(bench, bench.populated(presets, 10), "drifted") as tick:
        assert not tick.calls
        yield compare(
            3,
            f"tick, nothing to do in {presets:,} presets; its SQL",
            tick.product,
            tick.snapshot,
            pairs=bench.scaled(21, 15),
            bound=Bound(2),
        )
