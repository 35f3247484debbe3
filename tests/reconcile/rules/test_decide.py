"""Properties of decisions on any input, and the order in which the tick sends messages."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebuild_tasks.model.vocabulary import Preset, PresetStatus, Schedule
from prebuild_tasks.reconcile.rules.decide import decide, order_presets
from prebuild_tasks.reconcile.rules.model import (
    BackOff,
    CancelPending,
    Counts,
    Create,
    Delete,
    GlobalSnapshot,
    PresetCounts,
    PresetSnapshot,
    RecentFailures,
    RunningPrebuild,
)
from prebuild_tasks.reconcile.rules.next_turn import next_turn, turn_of_counts
from prebuild_tasks.reconcile.rules.rollout import ALONE, PoolVersion
from prebuild_tasks.reconcile.rules.state import count, desired_now
from prebuild_tasks.reconcile.rules.wants import quantities, wants
from prebuild_tasks.schema.rules import is_active

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FAILING = RecentFailures(2, NOW)
FAILED_LONG_AGO = RecentFailures(2, NOW - timedelta(hours=1))


SECONDS = st.integers(-50, 200).map(lambda seconds: timedelta(seconds=seconds))
PRESETS = st.builds(
    Preset,
    id=st.just("p"),
    desired=st.integers(0, 6),
    using_active_version=st.sampled_from([True, True, True, False]),
    deleted=st.sampled_from([False, False, False, True]),
    deprecated=st.sampled_from([False, False, False, True]),
    ttl=st.none() | SECONDS,
    last_invalidated_at=st.none() | SECONDS.map(lambda ago: NOW - ago),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", ""]),
    schedules=st.just(()) | st.just((Schedule("* 12 * * *", 4), Schedule("* 13 * * *", 2))),
)
ROWS = st.lists(st.tuples(SECONDS, st.booleans()), max_size=8).map(
    lambda rows: tuple(RunningPrebuild(f"w{n}", NOW - ago, ready) for n, (ago, ready) in enumerate(rows))
)
FEW = st.integers(0, 5)


@st.composite
def snapshots(draw: st.DrawFn) -> PresetSnapshot:
    starting = draw(FEW)
    return PresetSnapshot(
        preset=draw(PRESETS),
        running=draw(ROWS),
        starting=starting,
        stopping=draw(FEW),
        deleting=draw(FEW),
        pending=draw(FEW),
        failures=draw(st.none() | st.builds(RecentFailures, FEW, SECONDS.map(lambda ago: NOW - ago))),
    )


@given(snapshots())
def test_what_a_decision_never_does(snapshot: PresetSnapshot) -> None:
    decision = decide(snapshot, NOW, MINUTE)
    state, active = decision.state, is_active(snapshot.preset)
    live = state.actual - state.expired
    created = sum(action.count for action in decision.actions if isinstance(action, Create))
    canceled = sum(action.count for action in decision.actions if isinstance(action, CancelPending))
    deleted = [name for action in decision.actions if isinstance(action, Delete) for name in action.ids]
    # Never creates more than is missing, and never while the preset backs off or is inactive.
    assert created <= max(state.desired - live - state.starting, 0)
    assert not created or (active and not any(isinstance(action, BackOff) for action in decision.actions))
    # Deletes only existing prebuilds, none twice, and never leaves fewer than desired.
    assert len(deleted) == len(set(deleted))
    assert set(deleted) <= {row.id for row in snapshot.running}
    if active:
        assert len(deleted) == state.expired + state.extraneous
        assert live - state.extraneous >= min(live, state.desired)
        assert live + state.starting - canceled >= min(live + state.starting, state.desired)
    else:
        assert len(deleted) == len(snapshot.running)
    # Contains no empty action, and never creates and cancels at once.
    assert all(getattr(action, "count", 1) > 0 for action in decision.actions)
    assert all(action.ids for action in decision.actions if isinstance(action, Delete))
    assert not (created and canceled)
    assert decision.can_skip == (not active and not decision.actions)


@given(snapshots())
def test_victims_are_what_a_claim_misses_least(snapshot: PresetSnapshot) -> None:
    rows = {row.id: row for row in snapshot.running}
    for action in decide(snapshot, NOW, MINUTE).actions:
        if isinstance(action, Delete):
            keys = [(rows[name].ready, rows[name].created_at, name) for name in action.ids]
            assert keys == sorted(keys)


@given(snapshots())
def test_deciding_again_after_doing_it_does_nothing(snapshot: PresetSnapshot) -> None:
    decision = decide(replace(snapshot, failures=None), NOW, MINUTE)
    gone = {name for action in decision.actions if isinstance(action, Delete) for name in action.ids}
    canceled = sum(action.count for action in decision.actions if isinstance(action, CancelPending))
    created = sum(action.count for action in decision.actions if isinstance(action, Create))
    pending = snapshot.pending - canceled + created
    after = replace(
        snapshot,
        running=tuple(row for row in snapshot.running if row.id not in gone),
        starting=snapshot.starting + created - (canceled if is_active(snapshot.preset) else 0),
        pending=pending,
        failures=None,
    )
    assert decide(after, NOW, MINUTE).actions == ()


def gets_a_message(item: PresetCounts) -> bool:
    """Tell whether a tick that sends only to presets that need an action sends to this one."""
    return order_presets(GlobalSnapshot(NOW, (item,)), MINUTE, "drifted") != []


@given(snapshots(), st.booleans())
def test_rows_and_counts_agree(snapshot: PresetSnapshot, blocked: bool) -> None:
    """The tick, which has only counts, sends a message exactly if the preset's turn would do something."""
    counts = count(snapshot, NOW)
    item = PresetCounts(snapshot.preset, counts, snapshot.failures, creation_blocked=blocked)
    does = [action for action in decide(snapshot, NOW, MINUTE).actions if not isinstance(action, BackOff)]
    if blocked:
        does = [action for action in does if not isinstance(action, Create)]
    assert gets_a_message(item) == bool(does)
    amount = quantities(snapshot.preset, counts, desired_now(snapshot.preset, NOW))
    assert amount.delete == sum(len(action.ids) for action in does if isinstance(action, Delete))
    assert amount.cancel == sum(action.count for action in does if isinstance(action, CancelPending))


@given(snapshots())
def test_a_decision_is_what_the_next_turn_does(snapshot: PresetSnapshot) -> None:
    pool = PoolVersion(snapshot.preset, count(snapshot, NOW), failures=snapshot.failures, backoff_interval=MINUTE)
    turn = next_turn(wants(pool, ALONE, NOW), None, NOW)
    actions = decide(snapshot, NOW, MINUTE).actions
    deleted = sum(len(action.ids) for action in actions if isinstance(action, Delete))
    canceled = sum(action.count for action in actions if isinstance(action, CancelPending))
    created = sum(action.count for action in actions if isinstance(action, Create))
    assert turn.does == (deleted, canceled, created)
    waits = [action.until for action in actions if isinstance(action, BackOff)]
    assert waits == ([turn.backs_off_until] if turn.backs_off_until else [])


@given(snapshots(), st.booleans())
def test_the_tick_asks_for_the_turn_that_counts_give(snapshot: PresetSnapshot, blocked: bool) -> None:
    """Also of pools that want nothing, for which the turn is not computed."""
    item = PresetCounts(snapshot.preset, count(snapshot, NOW), snapshot.failures, creation_blocked=blocked)
    pool = PoolVersion.of(item, MINUTE)
    assert (pool.status is PresetStatus.HEALTHY) == (not blocked)
    assert turn_of_counts(item, MINUTE, NOW) == next_turn(wants(pool, ALONE, NOW), None, NOW).does


@pytest.mark.parametrize(
    ("item", "needed"),
    [
        (PresetCounts(Preset("p", 2), Counts()), True),
        (PresetCounts(Preset("p", 2), Counts(live=2)), False),
        (PresetCounts(Preset("p", 2), Counts(starting=2)), False),
        (PresetCounts(Preset("p", 2), Counts(live=3)), True),
        (PresetCounts(Preset("p", 2), Counts(live=2, expired=1)), True),
        (PresetCounts(Preset("p", 2), Counts(live=2, starting=1)), False),
        (PresetCounts(Preset("p", 2), Counts(live=2, starting=1, pending=1)), True),
        (PresetCounts(Preset("p", 2), Counts(), FAILING), False),
        (PresetCounts(Preset("p", 2), Counts(), FAILED_LONG_AGO), True),
        (PresetCounts(Preset("p", 2), Counts(expired=1), FAILING), True),  # deletions do not wait
        (PresetCounts(Preset("p", 2), Counts(), creation_blocked=True), False),
        (PresetCounts(Preset("p", 2), Counts(live=3), creation_blocked=True), True),
        (PresetCounts(Preset("p", 2, deleted=True), Counts()), False),
        (PresetCounts(Preset("p", 2, deleted=True), Counts(expired=1)), True),
        (PresetCounts(Preset("p", 2, deleted=True), Counts(pending=1)), True),
        (PresetCounts(Preset("p", 2, deleted=True), Counts(starting=1)), False),
    ],
)
def test_what_needs_a_turn(item: PresetCounts, needed: bool) -> None:
    assert gets_a_message(item) is needed


def pool(
    name: str, counts: Counts | None = None, *, desired: int = 4, visited: int | None = 1, **kwargs
) -> PresetCounts:
    """Make a pool that had its last turn `visited` minutes ago."""
    last = None if visited is None else NOW - visited * MINUTE
    active = kwargs.pop("active", True)
    preset = Preset(name, desired, using_active_version=active)
    return PresetCounts(preset, counts or Counts(live=desired, ready=desired), last_reconciled_at=last, **kwargs)


FLEET = (
    pool("full"),
    pool("full-longest-ago", visited=9),
    pool("full-never", visited=None),
    pool("half", Counts(live=2, ready=2)),
    pool("half-of-more", Counts(live=50, ready=50), desired=100, visited=3),
    pool("empty", Counts()),
    pool("empty-longer-ago", Counts(), visited=5),
    pool("empty-but-running", Counts(live=3)),
    pool("surplus", Counts(live=5, ready=5), visited=2),
    pool("expired", Counts(live=4, ready=4, expired=1), visited=3),
    pool("replacing", Counts(live=3, ready=3, expired=1)),
    pool("waits", Counts(), failures=FAILING, visited=7),
    pool("waits-with-surplus", Counts(live=9), failures=FAILING, visited=4),
    pool("blocked", Counts(), creation_blocked=True, visited=8),
    pool("old-version", Counts(live=1), active=False, visited=8),
    pool("old-version-done", Counts(), active=False, visited=None),
)
ACTING = [
    "empty-longer-ago",
    "empty",
    "empty-but-running",
    "half-of-more",
    "half",
    "replacing",
    "old-version",
    "waits-with-surplus",
    "expired",
    "surplus",
]
RESTING = ["full-never", "full-longest-ago", "blocked", "waits", "full"]


@pytest.mark.parametrize(
    ("fanout", "auto_limit", "names"),
    [
        ("all", 1000, ACTING + RESTING),
        ("all", 1, ACTING + RESTING),
        ("drifted", 1000, ACTING),
        ("auto", len(FLEET), ACTING + RESTING),
        ("auto", len(FLEET) - 1, ACTING),
    ],
)
def test_the_order_of_a_tick(fanout: Literal["all", "drifted", "auto"], auto_limit: int, names: list[str]) -> None:
    fleet = list(FLEET)
    for seed in range(5):
        random.Random(seed).shuffle(fleet)
        assert order_presets(GlobalSnapshot(NOW, tuple(fleet)), MINUTE, fanout, auto_limit) == names


def test_auto_is_all_up_to_a_thousand() -> None:
    thousand = tuple(pool(f"p{number:04}") for number in range(1000))
    assert len(order_presets(GlobalSnapshot(NOW, thousand), MINUTE)) == 1000
    assert order_presets(GlobalSnapshot(NOW, (*thousand, pool("one-more"))), MINUTE) == []


@given(st.lists(st.tuples(snapshots(), st.none() | SECONDS), max_size=12))
def test_the_order_is_a_permutation(drawn: list[tuple[PresetSnapshot, timedelta | None]]) -> None:
    items = tuple(
        PresetCounts(
            snapshot.preset._replace(id=f"p{number}"),
            count(snapshot, NOW),
            snapshot.failures,
            last_reconciled_at=None if ago is None else NOW - ago,
        )
        for number, (snapshot, ago) in enumerate(drawn)
    )
    snapshot = GlobalSnapshot(NOW, items)
    acting = {item.preset.id for item in items if gets_a_message(item)}
    everyone = order_presets(snapshot, MINUTE, "all")
    drifted = order_presets(snapshot, MINUTE, "drifted")
    assert len(everyone) == len(set(everyone))
    assert set(everyone) == acting | {item.preset.id for item in items if is_active(item.preset)}
    assert set(drifted) == acting
    assert everyone[: len(drifted)] == drifted


def test_ten_thousand_presets_are_ordered_in_no_time() -> None:
    """Each has its own schedule; the bound is ten times what a slow laptop needs."""
    items = tuple(
        PresetCounts(
            Preset(
                f"p{n}", n % 7, timezone="Europe/Berlin", schedules=(Schedule(f"* {n % 12}-{12 + n % 11} * * 1-5", n),)
            ),
            Counts(live=n % 5, ready=n % 4),
            last_reconciled_at=NOW - timedelta(seconds=n),
        )
        for n in range(10_000)
    )
    started = time.process_time()
    order_presets(GlobalSnapshot(NOW, items), MINUTE, "all")
    order_presets(GlobalSnapshot(NOW, items), MINUTE, "drifted")
    assert time.process_time() - started < 3
