"""The effects of a changed declaration on a pool, as a table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from prebuild_tasks.insight.plan.rules import Cost, VersionState, plan_pools, total_cost
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.model.vocabulary import Preset, Schedule
from prebuild_tasks.reconcile.rules.model import Counts
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.rules.state import compute_state
from prebuild_tasks.reconcile.rules.wants import quantities

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday

NAME = PoolName("dev", "small")
RANGE = (Schedule("* 8-18 * * 1-5", 10),)  # holds at NOW


# The columns of a version in the tables below.
def version(
    name: str, desired: int, held: int = 0, *, reason: Reason = Reason.NOT_YET, cost: float | None = None,
    rolling: bool = False, expired: int = 0, **preset: Any,
) -> VersionState:  # fmt: skip
    declared = Preset(name, desired=desired, timezone="UTC", **preset)
    counts = Counts(live=held, ready=held, expired=expired)
    state = compute_state(declared, counts, NOW)
    return VersionState(name, declared, state, quantities(declared, counts, state.desired), reason, rolling, cost)


def old(name: str, held: int, **more: Any) -> VersionState:
    return version(name, 2, held, using_active_version=False, reason=Reason.INACTIVE, **more)


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ([], [version("a", 3)], ("+", 3, 0, 0, "new", None)),
        ([], [version("a", 3, reason=Reason.QUOTA)], ("+", 3, 0, 0, "new", Reason.QUOTA)),
        ([], [version("a", 0)], ("~", 0, 0, 0, "new", None)),
        ([version("a", 2, 2)], [version("a", 5, 2)], ("+", 3, 0, 0, "desired 2 -> 5", None)),
        ([version("a", 2, 2)], [version("a", 1, 2)], ("-", 0, 1, 0, "desired 2 -> 1", None)),
        (
            [version("a", 2, 2)],
            [version("b", 2), old("a", 2)],
            ("~", 0, 0, 2, "version a -> b, all at once", None),
        ),
        (
            [version("a", 2, 2)],
            [version("b", 3, rolling=True), old("a", 2)],
            ("~", 1, 0, 2, "version a -> b, gradually, desired 2 -> 3", None),
        ),
        ([version("a", 2, 2)], [version("a", 2, 2, deleted=True)], ("-", 0, 2, 0, "no longer declared", None)),
        ([version("a", 2)], [], ("~", 0, 0, 0, "no longer declared", None)),
        ([version("a", 2, 2)], [version("a", 2, 2, deprecated=True)], ("-", 0, 2, 0, "deprecated", None)),
        ([version("a", 2, 2)], [old("a", 2)], ("-", 0, 2, 0, "not in the active version", None)),
        ([old("a", 2)], [version("a", 2, 2)], ("~", 0, 0, 0, "active again", None)),
        (
            [version("a", 2, 2)],
            [version("a", 2, 2, schedules=RANGE)],
            ("+", 8, 0, 0, "schedules, desired now 2 -> 10", None),
        ),
        ([version("a", 2, 2)], [version("a", 2, 0, expired=2)], ("~", 0, 0, 2, "changed", None)),
        ([version("a", 2, 1)], [version("a", 2, 1)], None),
    ],
)
def test_each_change_of_a_pool(
    before: list[VersionState], after: list[VersionState], line: tuple[Any, ...] | None
) -> None:
    plans = plan_pools({NAME: before} if before else {}, {NAME: after} if after else {})
    found = [(item.sign, item.create, item.delete, item.replace, item.why, item.waits) for item in plans]
    assert found == ([line] if line else [])


def test_what_it_costs_now_and_at_the_busiest() -> None:
    before = {NAME: [version("a", 2, 2, cost=0.5)], PoolName("dev", "free"): [version("a", 9)]}
    after = {
        NAME: [version("a", 3, 2, cost=0.5, schedules=(Schedule("* 20 * * *", 10),))],
        PoolName("dev", "free"): before[PoolName("dev", "free")],
    }
    [plan] = plan_pools(before, after)
    assert plan.cost == total_cost(before, after) == Cost(1.0, 1.5, 1.0, 5.0)
    assert total_cost({}, {NAME: [version("a", 1)]}) is None
