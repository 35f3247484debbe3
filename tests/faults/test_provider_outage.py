"""The fault table, row 18: a provisioner that does not answer, answers incompletely, or has lost everything."""

from __future__ import annotations

import random
import time
from pathlib import Path

from prebuild_tasks.clock import monotonic
from tests.faults.cluster import Cluster, pools_file
from tests.faults.pods import DESIRED, POOL, Pods
from tests.faults.trials import TRIALS, Report, trials

pytestmark = TRIALS
SWEEPS, APART = 2, 20.0
"""Sweeps of resources within which a pool that has lost everything is full again, and the seconds between two of them:
as many as between two probes, by default five times as many."""
_BUSY = 60.0
"""Seconds after the last sweep that the short form grants a busy machine. No further sweep comes in them either."""


def lose_everything(pods: Pods, patience: float) -> tuple[int, float]:
    """Delete every pod, and return the number of sweeps of resources, and the seconds, until all are replaced.

    `patience` is how many seconds after the last sweep that may be.
    """
    before = pods.ready()
    assert len(before) == DESIRED
    for path in pods.place.iterdir():
        path.unlink()
    started = monotonic()
    for sweep in range(1, SWEEPS + 1):
        pods.look()
        until = (sweep - 1) * APART + (patience if sweep == SWEEPS else APART)
        while (took := monotonic() - started) < until:
            ready = pods.ready()
            if len(ready) == DESIRED and not ready & before:
                return sweep, took
            time.sleep(0.1)
    raise AssertionError(f"after {SWEEPS} sweeps, {len(pods.ready() - before)} of {DESIRED} are replaced")


@trials(3, 60, timed=True)
def test_row_18_a_provisioner_does_not_answer(
    deployment: Cluster, tmp_path: Path, chance: random.Random, report: Report, count: int
) -> None:
    pods = Pods(deployment, tmp_path / "pods")
    deployment.wait_full(60)
    hits, refills, longer = 0, list[tuple[int, float]](), 4 if count > 3 else 1
    for number in range(count):
        if number % 3 == 2:
            pods.unblock()
            refills.append(lose_everything(pods, _BUSY if count == 3 else APART))
            continue
        before, load = pods.taken_out(), deployment.load(chance, POOL)
        with pods.trouble("away" if number % 3 else "flap"):
            ends = monotonic() + 3 + longer * chance.random()
            while monotonic() < ends:
                pods.look()
                time.sleep(0.5)
        load.stop()
        hits += load.hits
        deployment.wait_full(90)
        assert pods.taken_out() == before, "nothing was lost"
        assert pods.failures() == [], "what could not be asked is not a failure"
    deployment.calm(120)
    pods.database.close()
    deployment.apply(pools_file(), prune=True)
    deployment.calm(120)
    sweeps, took = max(sweeps for sweeps, _ in refills), max(took for _, took in refills)
    report(
        f"{count} times, {hits} claims, none taken out while it did not answer; {len(refills)} times everything "
        f"deleted, all replaced after at most {sweeps} sweeps of resources ({APART:g} s apart) and {took:.1f} s"
    )
