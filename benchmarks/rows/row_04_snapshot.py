"""The global snapshot at two sizes: time, statements and memory, split into fetching and deciding."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta

from benchmarks.bench import Bench
from benchmarks.harness import Absolute, Bound, Result, Row, compare
from benchmarks.recorded import recorded
from benchmarks.ticks import Ticks, ticks
from prebuild_tasks.reconcile.rules.decide import order_presets
from prebuild_tasks.reconcile.rules.model import GlobalSnapshot
from prebuild_tasks.reconcile.store.snapshots import read_global

_LOOKBACK = 3600


def run(bench: Bench) -> Iterator[Result]:
    small, big = 1_000, bench.scaled(10_000, 2_000)
    linear = Bound(1.2 * big / small)
    with (
        ticks(bench, bench.populated(small, 10), "drifted") as few,
        ticks(bench, bench.populated(big, 10), "drifted") as many,
    ):
        statements, memory = [], []
        for tick, presets in ((few, small), (many, big)):
            row = _snapshot(bench, tick, presets)
            statements.append(_statements(tick))
            memory.append(_memory(tick))
            row.notes = {"statements": statements[-1], "memory, MiB": memory[-1] / (1 << 20)}
            yield row
        assert statements[0] == statements[1]
        yield _decisions(bench, many, big)
        yield compare(
            4,
            f"snapshot, time at {big:,}; at {small:,}",
            lambda _: _read(many) and None,
            lambda _: _read(few) and None,
            pairs=bench.scaled(21, 15),
            bound=linear,
        )
        what = f"snapshot, memory at {big:,} over memory at {small:,}"
        yield Absolute(4, what, [memory[1] / memory[0]], linear, "x")


def _snapshot(bench: Bench, tick: Ticks, presets: int) -> Row:
    return compare(
        4,
        f"snapshot, {presets:,} x 10; its statements by psycopg",
        lambda _: _read(tick) and None,
        tick.snapshot,
        pairs=bench.scaled(21, 15),
        bound=Bound(2),
    )


def _decisions(bench: Bench, tick: Ticks, presets: int) -> Row:
    """Deciding in pure Python takes less time than fetching the rows that are decided on."""
    snapshot = _read(tick)

    def decide(_: int) -> None:
        order_presets(snapshot, timedelta(seconds=60), "all")

    what = f"decisions for {presets:,} presets; fetching their rows"
    return compare(4, what, decide, tick.snapshot, pairs=bench.scaled(21, 15), bound=Bound(1))


def _read(tick: Ticks) -> GlobalSnapshot:
    with tick.database.snapshot() as connection:
        return read_global(tick.database, connection, _LOOKBACK)


def _statements(tick: Ticks) -> int:
    with recorded(tick.database) as statements:
        _read(tick)
    return len(statements)


def _memory(tick: Ticks) -> int:
    """Measure the peak memory that Python allocates for a call, over what it held before."""
    gc.collect()  # also empties the free lists, from which a small snapshot could be made without allocating
    tracemalloc.start()
    try:
        _read(tick)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
