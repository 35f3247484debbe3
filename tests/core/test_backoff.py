"""Waiting after failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prebuild_tasks.core.backoff import backoff_until, slow_start_limit
from prebuild_tasks.core.model import RecentFailures

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


@pytest.mark.parametrize(("failures_in_row", "limit"), [(0, None), (1, 1), (2, 1), (50, 1)])
def test_after_a_failure_one_build_at_a_time(failures_in_row: int, limit: int | None) -> None:
    assert slow_start_limit(failures_in_row) == limit
