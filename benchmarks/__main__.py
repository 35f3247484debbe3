"""`make bench`: what the product costs over its floor, measured side by side in one run.

Floor and product are interleaved; the ratio is of medians, printed beside what is aimed at. Nothing but a double claim
makes it exit 1.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text

from benchmarks.floors import claim_floor, snapshot_floor
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.core.actions import order_presets
from prebuild_tasks.services.claim import ClaimRequest, claim
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.snapshots import read_global
from prebuild_tasks.telemetry import configure_command_logging
from tests.builders import declare, fill

PAIRS = 9
CLAIMS_EACH = 20


def main() -> int:
    """Run every row, print the table."""
    configure_command_logging()
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(data_dir=Path(directory))
        database = Database(f"sqlite:///{directory}/bench.db")
        database.upgrade()
        declare(database, settings, 2 * PAIRS * CLAIMS_EACH + 100)
        fill(database, settings)
        rows = [
            ("claim, SQLite", 1.5, lambda n: _claims(database, n), lambda n: claim_floor(database, n, CLAIMS_EACH)),
            ("snapshot, SQLite", 2.0, lambda _: _snapshot(database), lambda _: snapshot_floor(database)),
        ]
        sys.stdout.write(f"{'what':<20}{'product ms':>12}{'floor ms':>12}{'ratio':>8}{'aim':>8}\n")
        for name, aim, product, floor in rows:
            ratio, ours, theirs = _ratio(product, floor)
            sys.stdout.write(f"{name:<20}{ours * 1000:>12.2f}{theirs * 1000:>12.2f}{ratio:>8.2f}{aim:>8.1f}\n")
        with database.read() as connection:
            owners = text("SELECT count(DISTINCT workspace_id), count(*) FROM claim_events WHERE hit")
            distinct, hits = connection.execute(owners).one()
        sys.stdout.write(f"claims: {hits}, of distinct workspaces: {distinct}\n")
        database.close()
    return int(distinct != hits)


def _claims(database: Database, pair: int) -> None:
    for number in range(CLAIMS_EACH):
        claim(database, ClaimRequest(owner=f"p{pair}-{number}", presets=["dev/small"]))


def _snapshot(database: Database) -> None:
    with database.snapshot() as connection:
        snapshot = read_global(database, connection, 3600)
    from datetime import timedelta

    order_presets(snapshot, timedelta(seconds=60))


def _ratio(product: Callable[[int], None], floor: Callable[[int], None]) -> tuple[float, float, float]:
    ours, theirs = [], []
    for pair in range(PAIRS):
        for work, into in ((floor, theirs), (product, ours)):
            started = monotonic()
            work(pair)
            into.append(monotonic() - started)
    return statistics.median(ours) / statistics.median(theirs), statistics.median(ours), statistics.median(theirs)


if __name__ == "__main__":
    sys.exit(main())
