"""The wants of a pool during a rolling replacement."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile.rules.backoff import backoff_until
from prebuild_tasks.reconcile.rules.decide import choose, decide
from prebuild_tasks.reconcile.rules.model import (
    Create,
    Delete,
    PresetSnapshot,
    RecentFailures,
    RunningPrebuild,
)
from prebuild_tasks.reconcile.rules.rollout import (
    ALONE,
    OtherVersions,
    PoolVersion,
    Rolling,
    Successor,
    due_for_replacement,
)
from prebuild_tasks.reconcile.rules.state import count
from prebuild_tasks.reconcile.rules.wants import Wanted, wants

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NO_BACKOFF = timedelta()


def prebuilds(**ages: float) -> tuple[RunningPrebuild, ...]:
    """Make prebuilds from names and ages in minutes; one whose name ends in _ is not ready."""
    return tuple(
        RunningPrebuild(name, NOW - timedelta(minutes=minutes), ready=not name.endswith("_"))
        for name, minutes in ages.items()
    )


def by_rows(snapshot: PresetSnapshot, rolling: Rolling | None, others: OtherVersions = ALONE) -> Wanted:
    """Return the wants of a pool from its rows."""
    pool = PoolVersion(preset=snapshot.preset, counts=count(snapshot, NOW), rolling=rolling, failures=snapshot.failures)
    pool = pool.with_rows(snapshot.running, NOW)
    return wants(pool, others, NOW)


@dataclass(frozen=True)
class Case:
    """An active pool with this desired size, invalidated 10 minutes ago, a TTL of 60 minutes and a lead of 5."""

    name: str
    running: tuple[RunningPrebuild, ...] = ()
    desired: int = 3
    starting: int = 0
    pending: int = 0
    surge: int = 1
    older: int = 0
    backoff: bool = False
    create: int = 0
    delete: tuple[str, ...] = ()
    extraneous: tuple[str, ...] = ()
    cancel: int = 0
    ceiling: int = 3
    minutes: dict[str, float] = field(default_factory=dict)


CASES = [
    Case("a full pool of fresh ones", prebuilds(a=1, b=2, c=3)),
    Case("an empty pool is filled at once", create=3),
    Case("invalidated: one more is built, none goes", prebuilds(a=11, b=12, c=13), create=1, ceiling=4),
    Case("its replacement is on the way", prebuilds(a=11, b=12, c=13), starting=1, ceiling=4),
    Case("it is ready: the oldest goes, the next is built", prebuilds(n=1, a=11, b=12, c=13), delete=("c",), create=1, ceiling=4),  # noqa: E501
    Case("the last one goes", prebuilds(n=1, o=2, p=3, a=11), delete=("a",)),
    Case("a wider surge", prebuilds(a=11, b=12, c=13), surge=2, create=2, ceiling=5),
    Case("a surge beyond the pool is of no use", prebuilds(a=11, b=12, c=13), surge=9, create=3, ceiling=12),
    Case("a surge of 0 would never end", prebuilds(a=11, b=12, c=13), surge=0, create=1, ceiling=4),
    Case("claims took two: both are missing, and one may be more", prebuilds(a=11), create=3, ceiling=4),
    Case("what is not ready stands in for nobody", prebuilds(a_=11, b=12, c=13), delete=("a_",), create=2, ceiling=4),
    Case("past the TTL: never claimed again, so it goes", prebuilds(a=61, b=62, n=1), delete=("b", "a"), create=2),
    Case("past the TTL and invalidated ones", prebuilds(a=61, b=11, n=1), delete=("a",), create=2, ceiling=4),
    Case("due: the replacement starts ahead", prebuilds(a=9, b=5, c=1), minutes={"ttl": 13}, create=1, ceiling=4),
    Case("due, and the replacement is there", prebuilds(a=9, b=5, c=1, n=0), minutes={"ttl": 13}, extraneous=("a",), ceiling=4),  # noqa: E501
    Case("due, and the replacement is starting: not cancelled", prebuilds(a=9, b=5, c=1), minutes={"ttl": 13}, starting=1, pending=1, ceiling=4),  # noqa: E501
    Case("all three are due one after the other", prebuilds(a=9, b=9, c=9), minutes={"ttl": 18}, create=1, ceiling=4),
    Case("nobody is due in the first half of life", prebuilds(a=5, b=5, c=5), minutes={"ttl": 12}),
    Case("more than desired are starting", prebuilds(a=1), starting=4, pending=3, cancel=2),
    Case("shrunk while it replaces", prebuilds(a=11, b=12, c=13), desired=1, delete=("c", "b"), create=1, ceiling=2),
    Case("shrunk to nothing", prebuilds(a=11, b=1), desired=0, delete=("a",), extraneous=("b",), ceiling=0),
    Case("backing off: what stands in stays", prebuilds(a=11, b=12, c=13), backoff=True, ceiling=4),
    Case("older versions stand in: one at a time", older=3, create=1, ceiling=4),
    Case("older versions, one replaced", prebuilds(n=1), older=3, create=1, ceiling=4),
    Case("older versions, one replaced and gone", prebuilds(n=1), older=2, create=1, ceiling=4),
    Case("older versions, one more on the way", prebuilds(n=1), starting=1, older=2, ceiling=4),
    Case("older versions were claimed away", older=1, create=3, ceiling=4),
    Case("older versions that nobody needs", prebuilds(a=1, b=2, c=3), older=3),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_an_active_pool(case: Case) -> None:
    preset = Preset(
        "1",
        case.desired,
        ttl=timedelta(minutes=case.minutes.get("ttl", 60)),
        last_invalidated_at=NOW - 10 * MINUTE,
    )
    failures = RecentFailures(1, NOW) if case.backoff else None
    snapshot = PresetSnapshot(preset, case.running, starting=case.starting, pending=case.pending, failures=failures)
    wanted = by_rows(snapshot, Rolling(case.surge, 5 * MINUTE), OtherVersions(case.older))
    waits = backoff_until(failures, MINUTE, NOW) is not None
    found: dict[str, object] = {
        "delete": (), "extraneous": (), "cancel": wanted.turn.cancel, "create": 0 if waits else wanted.turn.create,
        "backoff": waits, "ceiling": wanted.ceiling,
    }  # fmt: skip
    for action in choose(snapshot, wanted, NOW):
        found["delete" if action.reason == "expired" else action.reason] = action.ids
    assert found == {name: getattr(case, name) for name in found}


@pytest.mark.parametrize(
    ("running", "desired", "eligible", "gone"),
    [
        (prebuilds(a=5, b=6, c=7), 3, 0, ()),
        (prebuilds(a=5, b=6, c=7), 3, 1, ("c",)),
        (prebuilds(a=5, b=6, c=7), 3, 2, ("c", "b")),
        (prebuilds(a=5, b=6, c=7), 3, 3, ("c", "b", "a")),
        (prebuilds(a=5, b=6, c=7), 0, 0, ("c", "b", "a")),
        (prebuilds(a=5, b=6, c=7), 1, 0, ("c", "b")),
        (prebuilds(a=5, b_=6, c=7), 3, 0, ("b_",)),
        (prebuilds(a=5, b=61), 3, 0, ("b",)),  # past its TTL
        ((), 3, 0, ()),
    ],
)
def test_an_older_version_stands_in(
    running: tuple[RunningPrebuild, ...], desired: int, eligible: int, gone: tuple[str, ...]
) -> None:
    preset = Preset("1", 3, using_active_version=False, ttl=60 * MINUTE)
    snapshot = PresetSnapshot(preset, running, starting=2, pending=2)
    wanted = by_rows(snapshot, None, OtherVersions(successor=Successor(desired, eligible), preset_ids=(7,)))
    assert (wanted.turn.cancel, wanted.turn.create) == (2, 0)
    assert choose(snapshot, wanted, NOW) == ((Delete(gone, "inactive"),) if gone else ())
    assert wanted.turn.delete == len(gone)
    assert wanted.ceiling == len(running) - len(gone)
    assert wanted.wake == (7,)


@pytest.mark.parametrize(
    ("older", "desired", "eligible", "number"), [(3, 3, 0, 0), (3, 3, 2, 2), (3, 3, 3, 3), (0, 3, 3, 0), (2, 5, 0, 0)]
)
def test_how_many_older_ones_are_overdue(older: int, desired: int, eligible: int, number: int) -> None:
    snapshot = PresetSnapshot(Preset("1", desired), prebuilds(**{f"p{i}": 1 for i in range(eligible)}))
    wanted = by_rows(snapshot, Rolling(1, MINUTE), OtherVersions(older, preset_ids=(7,)))
    assert wanted.wake == ((7,) if number else ()), "their pool has something to delete"


def test_recreate_is_not_gated() -> None:
    preset = Preset("1", 2, last_invalidated_at=NOW)
    snapshot = PresetSnapshot(preset, prebuilds(a=1, b=2))
    wanted = by_rows(snapshot, None)
    assert decide(snapshot, NOW, NO_BACKOFF).actions == (Delete(("b", "a"), "expired"), Create(2))
    assert (wanted.turn, wanted.ceiling) == (wanted.total, 2)


@pytest.mark.parametrize(
    ("ages", "surge", "due"),
    [
        ((55.1,), 1, 1),  # 5 minutes before its end
        ((54.9,), 1, 0),
        ((50.1, 50.1), 1, 1),  # two expire together: the first replacement begins a lead earlier
        ((49.9, 49.9), 1, 0),
        ((50.1, 50.1), 2, 0),  # both at once
        ((55.1, 55.1), 2, 2),
        ((45.1, 45.1, 45.1), 1, 1),
        ((50.1, 45, 10), 1, 0),  # staggered: each begins at its own time
        ((29,) * 20, 1, 0),  # too many for their lifetime: never in its first half
        ((31,) * 20, 1, 15),
    ],
)
def test_replacements_begin_ahead_of_the_expiry(ages: tuple[float, ...], surge: int, due: int) -> None:
    preset = Preset("1", len(ages), ttl=60 * MINUTE)
    live = prebuilds(**{f"p{position}": minutes for position, minutes in enumerate(ages)})
    found = due_for_replacement(preset, live, Rolling(surge, 5 * MINUTE), NOW)
    assert len(found) == due


def test_without_a_ttl_nothing_is_due() -> None:
    assert due_for_replacement(Preset("1", 1), prebuilds(a=10**6), Rolling(1, MINUTE), NOW) == []


@given(
    st.lists(st.tuples(st.floats(0, 130), st.booleans()), max_size=12),
    st.integers(0, 8),
    st.integers(0, 4),
    st.integers(1, 3),
    st.integers(0, 5),
    st.booleans(),
)
def test_it_never_grows_past_the_surge_nor_gives_up_what_is_needed(
    ages: list[tuple[float, bool]], desired: int, starting: int, surge: int, older: int, invalidated: bool
) -> None:
    running = tuple(RunningPrebuild(str(i), NOW - age * MINUTE, ready) for i, (age, ready) in enumerate(ages))
    preset = Preset("1", desired, ttl=100 * MINUTE, last_invalidated_at=NOW - 50 * MINUTE if invalidated else None)
    snapshot = PresetSnapshot(preset, running, starting=starting, pending=starting)
    decision = decide(snapshot, NOW, NO_BACKOFF)
    wanted = by_rows(snapshot, Rolling(surge, 5 * MINUTE), OtherVersions(older))
    gone = {name for action in choose(snapshot, wanted, NOW) for name in action.ids}
    assert len(gone) == wanted.turn.delete
    created, cancelled = wanted.turn.create, wanted.turn.cancel
    left = [item for item in running if item.id not in gone]
    after = len(left) + starting + created - cancelled
    if created:
        assert after <= wanted.ceiling <= desired + surge
    assert not (created and cancelled)
    claimable = [item for item in running if item.ready and NOW - item.created_at <= 100 * MINUTE]
    assert len([item for item in left if item in claimable]) >= min(len(claimable), desired)
    # It terminates: every turn does something until all prebuilds are fresh and the size is right.
    if not any(wanted.turn) and not starting and not older:
        assert len(running) == desired or decision.actions == ()
