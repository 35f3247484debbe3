"""Claims from client processes, against the same reads and writes in plain SQL from as many.

The judged floor has a statement for each in one transaction; the notes also compare with everything in one
hand-written statement.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

from sqlalchemy import text

from benchmarks.bench import Bench, dsn
from benchmarks.clients import Clients, clients, percentile
from benchmarks.harness import Bound, Result, Row, compare
from benchmarks.population import unclaimed
from prebuild_tasks.db.engine import Database
from tests.support import bulk

PREBUILDS = 10_000
TEMPLATE, PRESET = "template-1", "preset-1"
SIZES = {1: (1, 1), 8: (2, 4), 32: (2, 16)}
"""Numbers of clients: processes, and threads in each."""


def run(bench: Bench) -> Iterator[Result]:
    database = bench.database("claims")
    bulk.pools(database, 1, PREBUILDS)
    first_slot = 0
    for number, (processes, threads) in SIZES.items():
        bulk.stock(database, PREBUILDS - unclaimed(database), first_slot=first_slot)
        first_slot += PREBUILDS
        yield from _measured(bench, database, number, processes, threads)
    _check(database)
    database.close()


def _measured(bench: Bench, database: Database, number: int, processes: int, threads: int) -> Iterator[Result]:
    pairs, each = bench.scaled(9, 7), max(bench.scaled(320, 160) // number, 10)
    where = (TEMPLATE, PRESET)
    plain = dsn(database)
    with (
        clients("benchmarks.claimers:product", processes, threads, database.url, *where) as product,
        clients("benchmarks.floors.claim:in_steps", processes, threads, plain, *where) as floor,
        clients("benchmarks.floors.claim:at_once", processes, threads, plain, *where) as sharp,
    ):
        slow: dict[str, list[float]] = {"product": [], "floor": []}
        sharpest: list[float] = []

        def median(who: str, by: Clients) -> Callable[[int], float]:
            def work(_: int) -> float:
                seconds = by.run(each)
                slow[who].append(percentile(seconds, 0.99))
                if who == "floor":
                    sharpest.append(statistics.median(sharp.run(each)))
                return statistics.median(seconds)

            return work

        row = compare(
            5, f"claim p50, {number} clients; its SQL by hand", median("product", product), median("floor", floor),
            pairs=pairs, bound=Bound(1.5),
        )  # fmt: skip
        row.notes = {"over all of it in one statement": statistics.median(row.product) / statistics.median(sharpest)}
        yield row
        what = f"claim p99, {number} clients; its SQL by hand"
        yield Row(5, what, slow["product"][1:], slow["floor"][1:], Bound(2))


def _check(database: Database) -> None:
    """Raise AssertionError if a workspace was claimed twice, or a claim left no event."""
    with database.read() as connection:
        query = text("SELECT count(*), count(DISTINCT workspace_id) FROM claim_events WHERE hit")
        events, distinct = connection.execute(query).one()
        claimed = connection.execute(text("SELECT count(*) FROM workspaces WHERE owner <> 'prebuilds'")).scalar_one()
        builds = connection.execute(text("SELECT count(*) FROM builds WHERE reason = 'claim'")).scalar_one()
    assert events == distinct == claimed == builds, (events, distinct, claimed, builds)
