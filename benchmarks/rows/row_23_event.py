"""The claim's statement with its event, against the same one before there was an event log.

Each has a database of its own schema, on one server. A sequencer numbers the events meanwhile, ten times a second.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench, dsn
from benchmarks.clients import Clients, clients
from benchmarks.floors import before_events
from benchmarks.harness import Bound, Result, compare
from benchmarks.population import unclaimed
from benchmarks.rows.row_05_claim import PREBUILDS, PRESET, SIZES, TEMPLATE
from prebuild_tasks.claims.quick import texts
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import number_all_events
from tests.support import bulk

_SCHEMA_BEFORE = "0013"
_EVERY_S = 0.1


def run(bench: Bench) -> Iterator[Result]:
    present, former = bench.database("event"), bench.database("no-event", _SCHEMA_BEFORE)
    for database in (present, former):
        bulk.pools(database, 1, PREBUILDS)
    first_slot = 0
    for number, (processes, threads) in SIZES.items():
        for database in (present, former):
            bulk.stock(database, PREBUILDS - unclaimed(database), first_slot=first_slot)
        first_slot += PREBUILDS
        yield _measured(bench, present, former, number, processes, threads)
    for database in (present, former):
        database.close()


# The databases, and how many clients there are.
def _measured(bench: Bench, present: Database, former: Database, number: int, processes: int, threads: int) -> Result:
    pairs, each = bench.scaled(29, 21), 320 // number  # there is a prebuild for each claim
    target, where = "benchmarks.floors.claim:by_text", (TEMPLATE, PRESET)
    with (
        clients(target, processes, threads, dsn(present), texts.CLAIM, *where) as product,
        clients(target, processes, threads, dsn(former), before_events.CLAIM, *where) as floor,
        _numbering(present),
    ):
        return compare(
            23, f"claim with its event, p50, {number} clients; before there was a log",
            _median(product, each), _median(floor, each), pairs=pairs, bound=Bound(1.25),
        )  # fmt: skip


def _median(by: Clients, calls: int) -> Callable[[int], float]:
    return lambda _: statistics.median(by.run(calls))


@contextmanager
def _numbering(database: Database) -> Iterator[None]:
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
