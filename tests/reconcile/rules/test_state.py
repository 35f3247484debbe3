"""The counts of a state: one formula for rows and for counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prebuild_tasks.model.vocabulary import Preset, Schedule
from prebuild_tasks.reconcile.rules.model import Counts, PresetSnapshot, ReconciliationState, RunningPrebuild
from prebuild_tasks.reconcile.rules.state import compute_state, count, is_expired

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("ttl", "invalidated", "created", "expired"),
    [
        (None, None, NOW - 1000 * HOUR, False),
        (HOUR, None, NOW - HOUR, False),
        (HOUR, None, NOW - HOUR - TICK, True),
        (HOUR, None, NOW + HOUR, False),
        (timedelta(), None, NOW - HOUR, False),
        (-HOUR, None, NOW - HOUR, False),
        (None, NOW - HOUR, NOW - HOUR, False),
        (None, NOW - HOUR, NOW - HOUR - TICK, True),
        (None, NOW + HOUR, NOW, True),  # invalidated later than now
        (HOUR, NOW - HOUR, NOW, False),
    ],
)
def test_expiry(ttl: timedelta | None, invalidated: datetime | None, created: datetime, expired: bool) -> None:
    preset = Preset("p", 1, ttl=ttl, last_invalidated_at=invalidated)
    assert is_expired(preset, created, NOW) is expired


def test_rows_are_counted() -> None:
    preset = Preset("p", 2, ttl=HOUR)
    rows = (
        RunningPrebuild("a", NOW, ready=True),
        RunningPrebuild("b", NOW, ready=False),
        RunningPrebuild("c", NOW - 2 * HOUR, ready=True),
    )
    snapshot = PresetSnapshot(preset, rows, starting=4, stopping=5, deleting=6, pending=3)
    assert count(snapshot, NOW) == Counts(live=2, expired=1, ready=1, starting=4, stopping=5, deleting=6, pending=3)


@pytest.mark.parametrize(
    ("preset", "state"),
    [
        (Preset("p", 3), ReconciliationState(7, 2, 3, 4, 2, 1, 2, 3)),
        (Preset("p", 9), ReconciliationState(7, 2, 9, 4, 0, 1, 2, 3)),
        (Preset("p", 0), ReconciliationState(7, 2, 0, 4, 5, 1, 2, 3)),
        (Preset("p", 3, using_active_version=False), ReconciliationState(7, 2, 0, 0, 0, 1, 2, 3)),
        (Preset("p", 3, deleted=True), ReconciliationState(7, 2, 0, 0, 0, 1, 2, 3)),
        (Preset("p", 3, deprecated=True), ReconciliationState(7, 2, 0, 0, 0, 1, 2, 3)),
        (
            Preset("p", 3, timezone="UTC", schedules=(Schedule("* 12 * * *", 1),)),
            ReconciliationState(7, 2, 1, 4, 4, 1, 2, 3),
        ),
    ],
)
def test_the_state(preset: Preset, state: ReconciliationState) -> None:
    counts = Counts(live=5, expired=2, ready=4, starting=1, stopping=2, deleting=3)
    assert compute_state(preset, counts, NOW) == state
