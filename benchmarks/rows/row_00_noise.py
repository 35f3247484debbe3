"""The floor against itself, which shows the effect of this machine's noise on a ratio."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.harness import Result, self_check
from benchmarks.ticks import ticks


def run(bench: Bench) -> Iterator[Result]:
    presets = bench.scaled(10_000, 2_000)
    with ticks(bench, bench.populated(presets, 10), "all") as tick:
        yield self_check(tick.snapshot, pairs=bench.scaled(21, 15), what="the snapshot's floor against itself")
