"""Which numbers of pools divide a limit, and what each of them wants of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile.rules.contenders import SHARED_BY_AT_MOST, contenders, is_divided_among
from prebuild_tasks.reconcile.rules.limits import Contender, Limits
from prebuild_tasks.reconcile.rules.model import Counts, PresetCounts, RecentFailures, Starts
from prebuild_tasks.reconcile.rules.next_turn import next_turn
from prebuild_tasks.reconcile.rules.rollout import ALONE, PoolVersion
from prebuild_tasks.reconcile.rules.wants import wants

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("pools", "divided"), [(0, False), (1, False), (2, True), (SHARED_BY_AT_MOST, True), (SHARED_BY_AT_MOST + 1, False)]
)
def test_by_how_many_pools_a_limit_is_divided(pools: int, divided: bool) -> None:
    assert is_divided_among(pools) is divided


@pytest.mark.parametrize(
    ("facts", "in_flight", "wanted", "fullness"),
    [
        ({}, 0, 8, 0.0),
        ({"counts": Counts(live=4, ready=2, starting=1)}, 1, 3, 0.25),
        ({"counts": Counts(live=9, ready=9)}, 0, 0, 1.125),
        ({"preset": Preset("1", 0)}, 0, 0, 1.0),
        ({"preset": Preset("1", 8, deleted=True)}, 0, 0, 1.0),
        ({"failures": RecentFailures(1, NOW)}, 0, 0, 0.0),
        ({"failures": RecentFailures(1, NOW - MINUTE)}, 0, 0, 0.0),  # the end instant itself still waits
        ({"failures": RecentFailures(1, NOW - 2 * MINUTE)}, 0, 8, 0.0),
        ({"slow_start": 2}, 0, 2, 0.0),
        ({"slow_start": 2}, 3, 0, 0.0),
        ({"max_builds_in_flight": 5}, 1, 4, 0.0),
        ({"max_builds_in_flight": 5, "slow_start": 4}, 1, 3, 0.0),
        ({"max_builds_in_flight": 0}, 0, 0, 0.0),
        ({"creation_blocked": True}, 0, 0, 0.0),
    ],
)
def test_what_a_contender_wants(facts: dict[str, Any], in_flight: int, wanted: int, fullness: float) -> None:
    item = PresetCounts(Preset("1", 8), Counts(), organization_id=7)._replace(**facts)
    assert contenders([item], {1: Starts(in_flight)}, MINUTE, NOW) == [Contender("1", in_flight, wanted, fullness, 7)]


FEW = st.integers(0, 6)
POOLS = st.builds(
    PresetCounts,
    st.builds(Preset, st.just("1"), FEW, st.sampled_from([True, True, False])),
    st.builds(Counts, live=FEW, expired=FEW, ready=FEW, starting=FEW, pending=FEW, aging=FEW),
    st.none() | st.builds(RecentFailures, st.integers(0, 2), FEW.map(lambda ago: NOW - ago * MINUTE / 2)),
    max_builds_in_flight=st.none() | FEW,
    slow_start=st.none() | FEW,
)


@given(POOLS, FEW)
def test_a_contender_wants_what_its_turn_would_create_alone(item: PresetCounts, in_flight: int) -> None:
    alone = Limits(in_flight=in_flight, max_in_flight=item.max_builds_in_flight, slow_start=item.slow_start)
    [contender] = contenders([item], {1: Starts(in_flight)}, MINUTE, NOW)
    assert contender.wants == next_turn(wants(PoolVersion.of(item, MINUTE), ALONE, NOW), alone, NOW).does.create
