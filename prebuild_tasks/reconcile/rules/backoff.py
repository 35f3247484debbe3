"""Waiting after failures. It delays creation only, never deletion."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from prebuild_tasks.reconcile.rules.model import RecentFailures


def recent_failures(
    desired: int, failed: Sequence[str] | None, unhealthy: Sequence[str] | None, since: datetime
) -> RecentFailures | None:
    """Return the failures that count for backoff; None if there are none.

    Besides failed builds these are unhealthy prebuilds beyond the desired size, so that a pool whose prebuilds become
    unhealthy again and again waits, too.

    Args:
        desired: The preset's desired size.
        failed: The creation times of failed builds, in ISO format.
        unhealthy: The times at which unhealthy prebuilds were removed, in ISO format, oldest first.
        since: The beginning of the look-back.
    """
    if not failed and not unhealthy:
        return None

    def recent(stored: Sequence[str] | None) -> list[datetime]:
        return [instant for text in stored or () if (instant := datetime.fromisoformat(text)) >= since]

    instants = recent(failed) + recent(unhealthy)[max(desired, 1) :]
    return RecentFailures(num_failed=len(instants), last_build_at=max(instants)) if instants else None


def backoff_until(failures: RecentFailures | None, interval: timedelta, now: datetime) -> datetime | None:
    """Return the last instant at which nothing is created; None if prebuilds may be created.

    The wait is linear: each recent failure adds one interval, counted from the creation of the newest failed build.
    """
    if failures is None or failures.num_failed <= 0:
        return None
    until = failures.last_build_at + failures.num_failed * interval
    return until if now <= until else None


SLOW_START_ENDS_AT = 64
"""From this number of builds in flight on, a pool that recovers from failures is no longer limited."""


def slow_start_after(limit: int | None, *, succeeded: bool) -> int | None:
    """Return how many start builds may be in flight after one more has ended; None: not limited.

    After a failure it is one, and each success doubles it. A broken recipe thus wastes one build at a time, and a
    recipe that fails now and then does not get a whole pool of attempts for each success.

    Args:
        limit: The limit so far.
        succeeded: Whether the build that ended has succeeded.
    """
    if not succeeded:
        return 1
    return None if limit is None or limit * 2 >= SLOW_START_ENDS_AT else limit * 2


RETRY_FIRST = timedelta(seconds=30)
"""The wait after the first failure; each further failure doubles it."""
RETRY_MAX = timedelta(hours=1)
"""The longest wait."""


def retry_at(failures: int, ended_at: datetime) -> datetime:
    """Return when a failed deletion or claim hook is tried again.

    Args:
        failures: The number of failed builds of the workspace.
        ended_at: The end of the last one.
    """
    doublings: int = 2 ** min(max(failures - 1, 0), 10)
    return ended_at + min(RETRY_FIRST * doublings, RETRY_MAX)


LOST_TURNS_FREE = 2
"""Turns in a row that may lose their worker before the pool rests: deployments and killed workers cause a few."""


def rest_after_lost_turns(lost: int, interval: timedelta) -> timedelta | None:
    """Return how long a pool rests after `lost` turns in a row crashed their worker; None: not at all.

    It rests one interval first, then twice as long each time, at most an hour. Without the rest, Celery would deliver
    such a turn again and again.
    """
    if lost <= LOST_TURNS_FREE:
        return None
    doublings: int = 2 ** min(lost - LOST_TURNS_FREE - 1, 20)
    return min(interval * doublings, RETRY_MAX)
