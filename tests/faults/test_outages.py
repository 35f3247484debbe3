"""The fault table, row 16: Redis fails two or three times within seconds, each time in another way."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from itertools import product

import pytest
from sqlalchemy import select

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.publisher import Messages
from prebuild_tasks.schema import tables as m
from tests.faults.cluster import Cluster
from tests.faults.redis_outages import KINDS, outage
from tests.faults.trials import TRIALS, Report, refill

pytestmark = TRIALS
GROUPS, PARTS = 200, 5
"""Groups of outages in `make faults`, and the tests that share them, which run at the same time."""
PER_DEPLOYMENT = 20
"""Groups of outages that the same processes outlive, before new ones replace them."""
APART = (1.0, 15.0)
"""The least and the longest time between two outages of a group, in seconds. Short ones are more likely."""
BURST = 10
"""Turns that are asked for in each pool just before the first outage, so that messages are in flight."""


def groups(chance: random.Random, part: int, count: int) -> list[list[str]]:
    """Choose the kinds of each group's two or three outages. All parts together have every pair of kinds twice."""
    pairs = list(product(KINDS, repeat=2))
    chosen = [list(pairs[(part * count + number) % len(pairs)]) for number in range(count)]
    for group in chosen[::2]:
        group.append(chance.choice(KINDS))
    chance.shuffle(chosen)
    return chosen


def preset_ids(database: Database, _: Settings) -> list[str]:
    with database.read() as connection:
        return [str(identity) for identity in connection.execute(select(m.Preset.id)).scalars()]


def ends(deployment: Cluster) -> int:
    """Count the processes that have ended so far."""
    return sum(member.restarts for member in deployment.members.values())


def fail(deployment: Cluster, group: Sequence[str], chance: random.Random, longest: float) -> None:
    """Let Redis fail once in each way, with messages in flight, and at most `longest` seconds in between."""
    for number, kind in enumerate(group):
        if number:
            time.sleep(APART[0] * (longest / APART[0]) ** chance.random())
        with outage(deployment, kind):
            time.sleep(0.2 + 2 * chance.random())


@pytest.mark.parametrize(
    ("count", "part"),
    [
        (1, 0),
        *(
            pytest.param(GROUPS // PARTS, part, marks=[pytest.mark.faults, pytest.mark.timeout(5400)])
            for part in range(PARTS)
        ),
    ],
)
def test_row_16_redis_fails_again_and_again(
    deployment: Cluster, chance: random.Random, report: Report, count: int, part: int
) -> None:
    longest = APART[1] if count > 1 else 2.0
    plan = groups(chance, part, count) if count > 1 else [chance.choices(KINDS, k=2)]
    messages, presets = Messages(deployment.settings), deployment.asked(preset_ids)
    times, kinds, ended = list[float](), Counter[str](), 0
    for number, group in enumerate(plan):
        if number and number % PER_DEPLOYMENT == 0:
            deployment.restart(*deployment.members)
            refill(deployment, 60)
        before = ends(deployment)
        load = deployment.load(chance)
        messages.reconcile(presets * BURST)
        fail(deployment, group, chance, longest)
        load.stop()
        kinds.update(group)
        times.append(refill(deployment, 60))
        ended += ends(deployment) - before
    assert ended == 0, f"{ended} processes ended"
    deployment.calm()
    report(
        f"{count} groups, {kinds.total()} outages of {len(kinds)} kinds, 0 processes ended, "
        f"consuming again after at most {max(times):.1f} s"
    )
