"""Helpers that the rows of the fault table share."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from prebuild_tasks.client import Client
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import PrebuildError
from tests.faults.cluster import NAMES, Cluster
from tests.support.wait import wait_until

Report = Callable[[str], None]
IN_CLUSTER = [pytest.mark.e2e, pytest.mark.timeout(420)]
"""Marks of rows that `make test` tries too."""
TRIALS = [*IN_CLUSTER, pytest.mark.trials]
"""Marks of the other rows."""
TURN_STEPS = [
    "turn.locked", "turn.looked", "reconcile.after_lock", "reconcile.after_reread", "reconcile.after_insert",
    "reconcile.before_commit", "publish.after_commit", "publish.before", "publish.after",
]  # fmt: skip
BUILD_STEPS = [
    f"{transition}.{step}"
    for transition in ("start", "delete")
    for step in ("during", "after_provisioner", "before_end")
]


def trials(short: int, long: int, *, timed: bool = False) -> pytest.MarkDecorator:
    """Choose the number of trials: first that of a short run, then that of `make faults`, by itself if it is timed."""
    marks = [pytest.mark.faults, pytest.mark.timeout(5400), *([pytest.mark.timed] if timed else [])]
    many = pytest.param(long, marks=marks)
    return pytest.mark.parametrize("count", [short, many])


def in_turn(steps: list[str], count: int, chance: random.Random) -> list[str]:
    """Return `count` steps in random order, each as often as any other."""
    chosen = [steps[number % len(steps)] for number in range(count)]
    chance.shuffle(chosen)
    return chosen


def refill(deployment: Cluster, limit: float, pool: str = "") -> float:
    """Measure the seconds until a claim made now is refilled, which shows that both kinds of workers consume."""
    client = Client(settings=deployment.settings)
    started = monotonic()
    answer = wait_until(lambda: _claimed(client, [pool] if pool else NAMES), timeout=limit, what="a claim")
    deployment.wait_full(limit)
    took = monotonic() - started
    client.release(f"{answer.owner}/{answer.workspace}", actor="test")
    client.close()
    return took


def _claimed(client: Client, pools: list[str]) -> Any:
    try:
        return client.claim(*pools, owner=f"t-{os.urandom(3).hex()}")
    except PrebuildError:
        return None
