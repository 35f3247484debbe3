"""Waiting after failures. It holds back creation only, never a deletion."""

from __future__ import annotations

from datetime import datetime, timedelta

from prebuild_tasks.core.model import RecentFailures


def backoff_until(failures: RecentFailures | None, interval: timedelta, now: datetime) -> datetime | None:
    """The last instant at which nothing is created; None when creation may go on.

    Linear: each recent failure adds one interval, counted from the newest failed build's creation. The end instant
    itself still waits.
    """
    if failures is None or failures.num_failed <= 0:
        return None
    until = failures.last_build_at + failures.num_failed * interval
    return until if now <= until else None


def slow_start_limit(failures_in_row: int) -> int | None:
    """How many start builds may be in flight: one after a failure, until one succeeds; None: no limit of this kind.

    A success sets the row of failures to 0, so a recipe that works again is tried once and then at full width.
    """
    return 1 if failures_in_row > 0 else None
