"""The claim's statement with its event, against the same one before there was an event log.

Each has a database of its own schema, on one server. In its turns a sequencer numbers the events, ten times a second.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench, dsn
from benchmarks.clients import clients
from benchmarks.floors import before_events
from benchmarks.harness import Bound, Result, compare
from benchmarks.population import unclaimed
from benchmarks.rows.row_05_claim import PRESET, SIZES, TEMPLATE
from prebuild_tasks.claims.quick import texts
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import number_all_events
from tests.support import bulk

_SCHEMA_BEFORE = "0013"
_EVERY_S = 0.1
_CLAIMS, _PREBUILDS = 960, 20_000
"""Claims in a turn, which takes several times as long as the sequencer rests; and a prebuild for each of a size."""


def run(bench: Bench) -> Iterator[Result]:
    present, former = bench.database("event"), bench.database("no-event", _SCHEMA_BEFORE)
    for database in (present, former):
        bulk.pools(database, 1, _PREBUILDS)
    first_slot = 0
    for number, (processes, threads) in SIZES.items():
        for database in (present, former):
            bulk.stock(database, _PREBUILDS - unclaimed(database), first_slot=first_slot)
        first_slot += _PREBUILDS
        yield _measured(bench, present, former, number, processes, threads)
    for database in (present, former):
        database.close()


# The databases, and how many clients there are.
def _measured(bench: Bench, present: Database, former: Database, number: int, processes: int, threads: int) -> Result:
    pairs, each = bench.scaled(19, 11), _CLAIMS // number
    target, where = "benchmarks.floors.claim:by_text", (TEMPLATE, PRESET)
    with (
        clients(target, processes, threads, dsn(present), texts.CLAIM, *where) as product,
        clients(target, processes, threads, dsn(former), before_events.CLAIM, *where) as floor,
    ):

        def with_events(_: int) -> float:
            with _numbering(present):
                return statistics.median(product.run(each))

        return compare(
            23, f"claim with its event, p50, {number} clients; before there was a log",
            with_events, lambda _: statistics.median(floor.run(each)), pairs=pairs, bound=Bound(1.25),
        )  # fmt: skip


@contextmanager
def _numbering(database: Database) -> Iterator[None]:
    """Run a sequencer until the block ends, and number what is left: the floor's turn is next."""
    stop = threading.Event()

    def number() -> None:
        while not stop.wait(_EVERY_S):
            number_all_events(database)

    thread = threading.Thread(target=number, name="sequencer")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        number_all_events(database)
