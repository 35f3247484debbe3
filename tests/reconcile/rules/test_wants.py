"""A pool's wants, from counts and from rows, and what its next turn does about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebuild_tasks.model.vocabulary import Preset, PresetStatus
from prebuild_tasks.reconcile.rules.decide import choose
from prebuild_tasks.reconcile.rules.limits import Contender, Grant, LimitReason, Limits, share_limits
from prebuild_tasks.reconcile.rules.model import Counts, PresetSnapshot, RecentFailures, RunningPrebuild, Usage
from prebuild_tasks.reconcile.rules.next_turn import NextTurn, next_turn
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.rules.rollout import (
    ALONE,
    PoolVersion,
    Rolling,
    is_replacing,
    is_second_choice,
    other_versions,
)
from prebuild_tasks.reconcile.rules.state import count, is_expired
from prebuild_tasks.reconcile.rules.wants import Quantities, kept_claimable, wants

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ROLLING = Rolling(max_surge=1, lead=5 * MINUTE)


@st.composite
def snapshots(draw: st.DrawFn, number: int, *, active: bool) -> PresetSnapshot:
    """Draw one version of a pool, with prebuilds on both sides of every age limit."""
    ages = draw(st.lists(st.tuples(st.sampled_from([0, 20, 29, 31, 44, 56, 61, 90]), st.booleans()), max_size=6))
    invalidated = draw(st.sampled_from([None, None, 30]))
    starting = draw(st.integers(0, 3))
    return PresetSnapshot(
        Preset(
            str(number),
            desired=draw(st.integers(0, 5)),
            using_active_version=active,
            ttl=draw(st.sampled_from([None, 60 * MINUTE])),
            last_invalidated_at=NOW - invalidated * MINUTE if invalidated else None,
        ),
        tuple(RunningPrebuild(f"{number}-{i}", NOW - age * MINUTE, ready) for i, (age, ready) in enumerate(ages)),
        starting=starting,
        pending=draw(st.integers(0, starting)),
    )


@st.composite
def pools(draw: st.DrawFn) -> tuple[list[PresetSnapshot], Rolling | None]:
    """Draw up to three versions of a pool, at most one of them active, and its replacement strategy."""
    numbers = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True))
    active = draw(st.sampled_from([*numbers, 0]))
    rolling = draw(st.sampled_from([None, ROLLING, Rolling(max_surge=3, lead=5 * MINUTE)]))
    return [draw(snapshots(number, active=number == active)) for number in numbers], rolling


def counted(snapshot: PresetSnapshot, rolling: Rolling | None) -> PoolVersion:
    """Count like the tick and the views."""
    preset = snapshot.preset
    aging = sum(
        not is_expired(preset, item.created_at, NOW) and NOW - item.created_at > preset.ttl / 2
        for item in snapshot.running
        if preset.ttl is not None and rolling
    )
    return PoolVersion(preset=preset, counts=count(snapshot, NOW)._replace(aging=aging), rolling=rolling)


@given(pools())
def test_counts_and_rows_agree_where_rows_need_not_be_read(pool: tuple[list[PresetSnapshot], Rolling | None]) -> None:
    snapshots, rolling = pool
    by_counts = [counted(snapshot, rolling) for snapshot in snapshots]
    by_rows = [item.with_rows(snapshot.running, NOW) for item, snapshot in zip(by_counts, snapshots, strict=True)]
    others = other_versions(by_rows, NOW)
    for few, many in zip(by_counts, by_rows, strict=True):
        wanted = wants(many, others[many.preset.id], NOW)
        if not is_replacing(by_counts):
            assert wanted._replace(pool=few) == wants(few, ALONE, NOW)
        assert wanted.total == wants(few, ALONE, NOW).total, "what is to be done in all needs no rows"
        assert wanted.state == wants(few, ALONE, NOW).state


@given(pools())
def test_as_many_are_chosen_as_are_wanted(pool: tuple[list[PresetSnapshot], Rolling | None]) -> None:
    snapshots, rolling = pool
    versions = [counted(snapshot, rolling).with_rows(snapshot.running, NOW) for snapshot in snapshots]
    others = other_versions(versions, NOW)
    for snapshot, version in zip(snapshots, versions, strict=True):
        wanted = wants(version, others[version.preset.id], NOW)
        chosen = [identity for action in choose(snapshot, wanted, NOW) for identity in action.ids]
        assert len(set(chosen)) == len(chosen) == wanted.turn.delete
        assert min(wanted.turn) >= 0
        assert wanted.turn.cancel <= snapshot.pending
        assert not (wanted.turn.cancel and wanted.turn.create)
        stay = [item for item in snapshot.running if item.id not in chosen]
        claimable = sum(is_second_choice(snapshot.preset, item, NOW) for item in stay)
        assert claimable == kept_claimable(version, others[version.preset.id], NOW)


def wanting(create: int = 3, **facts: Any) -> PoolVersion:
    return PoolVersion(Preset("1", create), Counts())._replace(**facts)


def limits(
    most: int | None = None, contenders: Sequence[Contender] = (), *, max_in_flight: int | None = None
) -> Limits:
    """Make limits of an organization with this maximum of builds in flight, shared by these pools."""
    usage = Usage("default", None, most, workspaces=0, builds_in_flight=0)
    shared = share_limits({0: usage}, contenders, 0).get(0, ())
    return Limits(
        in_flight=0, max_in_flight=max_in_flight, slow_start=None, organization=usage,
        everywhere=0, max_everywhere=0, shared=shared,
    )  # fmt: skip


FAILED = RecentFailures(1, NOW)


@pytest.mark.parametrize(
    ("facts", "outcome", "reason", "create", "status"),
    [
        ({}, "changed", None, 3, None),
        ({"paused": True}, "paused", Reason.PAUSED, 0, None),
        ({"rests_until": NOW + MINUTE}, "blocked", Reason.LOST_TURNS, 0, None),
        ({"rests_until": NOW}, "changed", None, 3, None),
        ({"failures": FAILED, "backoff_interval": MINUTE}, "blocked", Reason.BACKOFF, 0, None),
        ({"failures": FAILED}, "blocked", Reason.BACKOFF, 0, None),  # the end instant itself still waits
        ({"failures": RecentFailures(1, NOW - MINUTE)}, "changed", None, 3, None),
        ({"status": PresetStatus.VALIDATION_FAILED}, "blocked", Reason.VALIDATION_FAILED, 0, None),
        ({"status": PresetStatus.HARD_LIMITED}, "blocked", Reason.HARD_LIMITED, 0, None),
        ({"failures_in_row": 2, "hard_limit": 3}, "changed", None, 3, None),
        ({"failures_in_row": 9, "hard_limit": 0}, "changed", None, 3, None),
        (
            {"failures_in_row": 3, "hard_limit": 3},
            "blocked", Reason.HARD_LIMITED, 0, PresetStatus.HARD_LIMITED,
        ),
        (
            {"failures_in_row": 3, "hard_limit": 3, "status": PresetStatus.HARD_LIMITED},
            "blocked", Reason.HARD_LIMITED, 0, None,
        ),
        (
            {"failures_in_row": 3, "hard_limit": 3, "failures": FAILED, "backoff_interval": MINUTE},
            "blocked", Reason.BACKOFF, 0, PresetStatus.HARD_LIMITED,
        ),
    ],
)  # fmt: skip
def test_what_holds_a_turn_back(
    facts: dict[str, object], outcome: str, reason: Reason | None, create: int, status: PresetStatus | None
) -> None:
    turn = next_turn(wants(wanting(**facts), ALONE, NOW), limits(), NOW)
    assert (turn.outcome, turn.reason, turn.does.create, turn.status) == (outcome, reason, create, status)
    assert turn.grant.number == 3, "what the limits let through, whatever else holds it back"
    assert turn.writes == (outcome == "changed" or status is not None)


@pytest.mark.parametrize(
    ("done", "reason", "outcome"),
    [
        (Quantities(0, 0, 0), None, "steady"),
        (Quantities(0, 0, 0), Reason.BACKOFF, "blocked"),
        (Quantities(0, 0, 0), Reason.LOST_TURNS, "blocked"),
        (Quantities(0, 0, 0), Reason.PAUSED, "paused"),
        (Quantities(1, 0, 0), Reason.BACKOFF, "changed"),
        (Quantities(0, 1, 0), None, "changed"),
        (Quantities(0, 0, 1), Reason.QUOTA, "changed"),
    ],
)
def test_the_outcome_follows_from_what_is_done_and_what_is_not(
    done: Quantities, reason: Reason | None, outcome: str
) -> None:
    assert NextTurn(done, Grant(0), reason).outcome == outcome


@pytest.mark.parametrize("facts", [{"paused": True}, {"rests_until": NOW + MINUTE}])
def test_without_a_turn_nothing_is_deleted_either(facts: dict[str, object]) -> None:
    surplus = wanting(counts=Counts(live=5, ready=5, starting=2, pending=2), **facts)
    assert next_turn(wants(surplus, ALONE, NOW), None, NOW).does == Quantities(0, 0, 0)


@pytest.mark.parametrize("status", PresetStatus)
def test_a_surplus_goes_whatever_holds_creation_back(status: PresetStatus) -> None:
    surplus = wanting(counts=Counts(live=5, ready=5), status=status, failures=FAILED, backoff_interval=MINUTE)
    assert next_turn(wants(surplus, ALONE, NOW), None, NOW).does == Quantities(2, 0, 0)


def test_the_narrowest_limit_is_the_reason() -> None:
    wanted = wants(wanting(), ALONE, NOW)
    part = next_turn(wanted, limits(most=5, max_in_flight=2), NOW)
    assert (part.outcome, part.reason, part.does.create) == ("changed", Reason.PRESET_BUILDS, 2)
    nothing = next_turn(wanted, limits(most=0, max_in_flight=2), NOW)
    assert (nothing.outcome, nothing.reason, nothing.does.create) == ("blocked", Reason.ORGANIZATION_BUILDS, 0)


def test_what_is_left_of_a_shared_limit_wakes_the_others() -> None:
    contenders = [Contender("1", 0, 3), Contender("2", 0, 3), Contender("3", 0, 0), Contender("4", 0, 3)]
    turn = next_turn(wants(wanting(), ALONE, NOW), limits(4, contenders), NOW)
    assert (turn.does.create, turn.reason) == (2, Reason.ORGANIZATION_BUILDS)
    assert turn.grant.is_share
    assert turn.grant.limit is not None
    assert turn.grant.limit.reason is LimitReason.ORGANIZATION_BUILDS
    assert turn.wake == (2,), "as many as could go on, of those that want something"
