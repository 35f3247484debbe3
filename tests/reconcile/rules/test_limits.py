"""Limits on creation, and slots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebuild_tasks.reconcile.rules.limits import (
    Contender,
    LimitReason,
    Limits,
    SharedLimit,
    assign_slots,
    fair_share,
)
from prebuild_tasks.reconcile.rules.model import Usage

UNLIMITED: dict[str, Any] = {
    "preset_in_flight": 0,
    "preset_max": None,
    "organization_in_flight": 0,
    "organization_max": None,
    "global_in_flight": 0,
    "global_max": None,
    "organization_workspaces": 0,
    "organization_max_workspaces": None,
    "slow_start_limit": None,
}


def cap(wanted: int, limits: dict[str, Any]) -> tuple[int, LimitReason | None]:
    """Return how many may be created, and which limit holds back the rest."""
    values = UNLIMITED | limits
    usage = Usage(
        "default",
        max_workspaces=values["organization_max_workspaces"],
        max_builds_in_flight=values["organization_max"],
        workspaces=values["organization_workspaces"],
        builds_in_flight=values["organization_in_flight"],
    )
    granted = Limits(
        in_flight=values["preset_in_flight"],
        max_in_flight=values["preset_max"],
        slow_start=values["slow_start_limit"],
        organization=usage,
        everywhere=values["global_in_flight"],
        max_everywhere=values["global_max"] or 0,
    ).grant("1", wanted)
    return granted.number, granted.limit.reason if granted.limit else None


def test_a_limit_is_reached_when_it_leaves_no_room() -> None:
    limits = Limits(in_flight=2, max_in_flight=2, slow_start=3, everywhere=3, max_everywhere=2)
    assert [limit.reason for limit in limits.reached] == [LimitReason.PRESET_BUILDS, LimitReason.GLOBAL_BUILDS]
    assert [limit.room for limit in limits.each] == [1, 0, None, 0, None]


@pytest.mark.parametrize(
    ("limits", "capped"),
    [
        ({}, (10, None)),
        ({"preset_max": 10}, (10, None)),
        ({"preset_max": 4}, (4, LimitReason.PRESET_BUILDS)),
        ({"preset_max": 4, "preset_in_flight": 3}, (1, LimitReason.PRESET_BUILDS)),
        ({"preset_max": 4, "preset_in_flight": 9}, (0, LimitReason.PRESET_BUILDS)),
        ({"organization_max": 8, "organization_in_flight": 2}, (6, LimitReason.ORGANIZATION_BUILDS)),
        ({"global_max": 3, "global_in_flight": 1}, (2, LimitReason.GLOBAL_BUILDS)),
        ({"organization_max_workspaces": 20, "organization_workspaces": 15}, (5, LimitReason.QUOTA)),
        ({"slow_start_limit": 1}, (1, LimitReason.SLOW_START)),
        ({"slow_start_limit": 1, "preset_in_flight": 1}, (0, LimitReason.SLOW_START)),
        ({"preset_max": 0}, (0, LimitReason.PRESET_BUILDS)),
        # The tightest limit is named; of equal ones, the first.
        ({"preset_max": 5, "organization_max": 3, "global_max": 4}, (3, LimitReason.ORGANIZATION_BUILDS)),
        ({"preset_max": 3, "organization_max": 3, "global_max": 3}, (3, LimitReason.PRESET_BUILDS)),
        # Builds in flight count only against a limit.
        ({"preset_in_flight": 99, "organization_in_flight": 99, "global_in_flight": 99}, (10, None)),
    ],
)
def test_the_cap(limits: dict[str, Any], capped: tuple[int, LimitReason | None]) -> None:
    assert cap(10, limits) == capped


def test_nothing_wanted_is_cut_by_nothing() -> None:
    full = {"preset_max": 1, "preset_in_flight": 1}
    assert cap(0, full) == (0, None)
    assert cap(-3, full) == (0, None)


@pytest.mark.parametrize(
    ("wants", "budget", "shares"),
    [
        ({"a": 2, "b": 3}, 5, {"a": 2, "b": 3}),
        ({"a": 2, "b": 3}, 100, {"a": 2, "b": 3}),
        ({"a": 1, "b": 9, "c": 9}, 9, {"a": 1, "b": 4, "c": 4}),  # a pool that wants little gets all of it
        ({"a": 500, "b": 1, "c": 2}, 6, {"a": 3, "b": 1, "c": 2}),
        ({"c": 9, "a": 9, "b": 9}, 5, {"c": 2, "a": 2, "b": 1}),  # the remainder goes to the first contenders
        ({"a": 9, "b": 9, "c": 9}, 2, {"a": 1, "b": 1, "c": 0}),
        ({"a": 9, "b": 0}, 4, {"a": 4, "b": 0}),
        ({"a": 9, "b": -2}, 4, {"a": 4, "b": 0}),
        ({"a": 9}, 0, {"a": 0}),
        ({"a": 9}, -1, {"a": 0}),
        ({}, 5, {}),
    ],
)
def test_a_fair_share(wants: dict[str, int], budget: int, shares: dict[str, int]) -> None:
    assert fair_share(wants, budget) == shares


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 30), max_size=12), st.integers(0, 120))
def test_a_share_wastes_nothing_and_favours_nobody(wants: dict[str, int], budget: int) -> None:
    shares = fair_share(wants, budget)
    assert list(shares) == list(wants)
    assert sum(shares.values()) == min(budget, sum(wants.values()))
    assert all(0 <= shares[name] <= wants[name] for name in wants)
    short = [name for name in wants if shares[name] < wants[name]]
    for name in short:
        # A contender has at most one more than a short one, and then it comes earlier in the list.
        assert max(shares.values()) <= shares[name] + 1
    given_to_short = [shares[name] for name in short]
    assert given_to_short == sorted(given_to_short, reverse=True)


CONTENDERS = st.builds(
    Contender,
    preset_id=st.integers(0, 99).map(str),
    in_flight=st.integers(0, 4),
    wants=st.integers(0, 9),
    fullness=st.sampled_from([0.0, 0.5, 1.0]),
)


def fair_allowance(preset_id: str, contenders: list[Contender], limit: int) -> int:
    """Return how many more builds the preset may start so that builds in flight are shared equally."""
    by_need = sorted(contenders, key=lambda item: (item.fullness, item.preset_id))
    shares = fair_share({item.preset_id: item.in_flight + item.wants for item in by_need}, limit)
    return max(shares[preset_id] - next(item.in_flight for item in by_need if item.preset_id == preset_id), 0)


@given(
    st.lists(CONTENDERS, min_size=1, max_size=7, unique_by=lambda item: item.preset_id),
    st.integers(-3, 30),
    st.integers(1, 12),
)
def test_divided_once_everybody_gets_what_asking_gets(contenders: list[Contender], limit: int, wanted: int) -> None:
    shared = SharedLimit.divided(LimitReason.QUOTA, limit, contenders)
    for one in contenders:
        asked = [replace(item, wants=wanted) if item is one else item for item in contenders]
        expected = min(fair_allowance(one.preset_id, asked, limit), wanted)
        assert min(shared.allowance(one.preset_id, wanted), wanted) == expected


@pytest.mark.parametrize(
    ("held", "ceiling", "wanted", "moves", "new"),
    [
        ({}, 3, 3, {}, (0, 1, 2)),
        ({}, 3, 5, {}, (0, 1, 2)),
        ({"a": 1}, 3, 1, {}, (0,)),
        ({"a": 0, "b": 1, "c": 2}, 3, 2, {}, ()),
        ({"a": 5}, 3, 3, {"a": 0}, (1, 2)),  # a pool shrunk from 6 to 3 and lost five since
        ({"a": 4, "b": 3, "c": 1}, 3, 1, {"b": 0, "a": 2}, ()),
        ({"a": 4, "b": 3}, 1, 1, {"b": 0}, ()),  # no room for all: the others stay where they are
        ({"a": 4}, 0, 2, {}, ()),
        ({"a": 4}, 5, 0, {}, ()),
        ({"a": 7}, 5, -1, {"a": 0}, ()),
    ],
)
def test_slots(held: dict[str, int], ceiling: int, wanted: int, moves: dict[str, int], new: tuple[int, ...]) -> None:
    plan = assign_slots(held, ceiling, wanted)
    assert (dict(plan.moves), plan.new) == (moves, new)


@given(st.sets(st.integers(0, 20), max_size=15), st.integers(0, 15), st.integers(0, 20))
def test_slots_stay_unique_and_below_the_ceiling(slots: set[int], ceiling: int, wanted: int) -> None:
    held = {f"w{slot}": slot for slot in slots}
    plan = assign_slots(held, ceiling, wanted)
    assert len(plan.new) <= wanted
    assert not (set(plan.new) | set(plan.moves.values())) & slots  # never a slot that is held, not even for a moment
    after = [*(held | dict(plan.moves)).values(), *plan.new]
    assert len(after) == len(set(after))
    assert all(slot < ceiling for slot in (*plan.new, *plan.moves.values()))
    assert all(held[workspace_id] >= ceiling for workspace_id in plan.moves)
    if plan.new:
        # No prebuild stays above the ceiling while new ones take free slots below.
        assert all(slot < ceiling for slot in after)
    below = sum(slot < ceiling for slot in after)
    assert below == min(ceiling, len(held) + wanted)
