"""Backoff after failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prebuild_tasks.reconcile.rules.backoff import backoff_until, rest_after_lost_turns, slow_start_after
from prebuild_tasks.reconcile.rules.model import RecentFailures

LAST = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("num_failed", "now", "until"),
    [
        (1, LAST, LAST + MINUTE),
        (3, LAST, LAST + 3 * MINUTE),  # linear
        (3, LAST + 3 * MINUTE - TICK, LAST + 3 * MINUTE),
        (3, LAST + 3 * MINUTE, LAST + 3 * MINUTE),  # the end instant itself still waits
        (3, LAST + 3 * MINUTE + TICK, None),
        (1, LAST - MINUTE, LAST + MINUTE),  # a build from a clock ahead of ours
        (0, LAST, None),
        (-1, LAST, None),
    ],
)
def test_backoff(num_failed: int, now: datetime, until: datetime | None) -> None:
    assert backoff_until(RecentFailures(num_failed, LAST), MINUTE, now) == until


def test_without_failures_or_interval_nothing_waits() -> None:
    assert backoff_until(None, MINUTE, LAST) is None
    assert backoff_until(RecentFailures(5, LAST), timedelta(), LAST + TICK) is None
    assert backoff_until(RecentFailures(5, LAST), timedelta(), LAST) == LAST


@pytest.mark.parametrize(
    ("limit", "succeeded", "then"),
    [
        (None, True, None),
        (None, False, 1),
        (1, True, 2),
        (2, True, 4),
        (32, True, None),  # full width again
        (16, False, 1),  # from the beginning
        (1, False, 1),
    ],
)
def test_after_a_failure_starts_come_one_then_two_then_four(
    limit: int | None, succeeded: bool, then: int | None
) -> None:
    assert slow_start_after(limit, succeeded=succeeded) == then


@pytest.mark.parametrize(
    ("lost", "rest"),
    [
        (0, None),
        (1, None),  # a deploy, a killed worker
        (2, None),
        (3, MINUTE),
        (4, 2 * MINUTE),
        (8, 32 * MINUTE),
        (9, timedelta(hours=1)),
        (10_000, timedelta(hours=1)),
    ],
)
def test_rest_after_lost_turns(lost: int, rest: timedelta | None) -> None:
    assert rest_after_lost_turns(lost, MINUTE) == rest
