"""Waiting after failures. It holds back creation only, never a deletion."""

from __future__ import annotations

from datetime import datetime, timedelta

from prebuild_tasks.reconcile.rules.model import RecentFailures


def backoff_until(failures: RecentFailures | None, interval: timedelta, now: datetime) -> datetime | None:
    """The last instant at which nothing is created; None when creation may go on.

    Linear: each recent failure adds one interval, counted from the newest failed build's creation. The end instant
    itself still waits.
    """
    if failures is None or failures.num_failed <= 0:
        return None
    until = failures.last_build_at + failures.num_failed * interval
    return until if now <= until else None


SLOW_START_ENDS_AT = 64
"""So many at once after failures is full width again."""


def slow_start_after(limit: int | None, *, succeeded: bool) -> int | None:
    """How many start builds may be in flight after one more has ended; None: no limit of this kind.

    One after a failure, until one succeeds; each success then doubles it. So a broken recipe wastes one build at a
    time, and one that fails now and then does not get a whole pool of attempts for each success.
    """
    if not succeeded:
        return 1
    return None if limit is None or limit * 2 >= SLOW_START_ENDS_AT else limit * 2


RETRY_FIRST = timedelta(seconds=30)
RETRY_MAX = timedelta(hours=1)


def retry_at(failures: int, ended_at: datetime) -> datetime:
    """When a failed deletion or claim hook is tried again: later each time, at most an hour after it failed."""
    doublings: int = 2 ** min(max(failures - 1, 0), 10)
    return ended_at + min(RETRY_FIRST * doublings, RETRY_MAX)


LOST_TURNS_FREE = 2
"""Turns in a row that may end with their process before the pool rests: a deploy, a killed worker."""


def rest_after_lost_turns(lost: int, interval: timedelta) -> timedelta | None:
    """How long a pool rests after so many turns in a row ended with their process; None: not at all.

    One interval, then twice as long each time, at most an hour. Celery alone would deliver such a turn again for ever.
    """
    if lost <= LOST_TURNS_FREE:
        return None
    doublings: int = 2 ** min(lost - LOST_TURNS_FREE - 1, 20)
    return min(interval * doublings, RETRY_MAX)
