"""Rules about what listings show, and which pools need attention."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from prebuild_tasks.builds import read_not_ready
from prebuild_tasks.model.vocabulary import ACTIVE_STATUSES, BuildStatus, WorkspaceState

_ON_THE_WAY = (WorkspaceState.STARTING, WorkspaceState.RUNNING, WorkspaceState.READY, WorkspaceState.PERSONALISING)
_UNKNOWN = timedelta(minutes=5)
"""The time that a pool gets to fill while it is not known how long its starts take."""


class PoolProblem(StrEnum):
    """A reason why a pool needs attention. A closed set, because scripts read it."""

    HARD_LIMITED = "hard_limited"
    VALIDATION_FAILED = "validation_failed"
    SHORT = "short"
    """It has lacked prebuilds for longer than it usually takes until one is ready."""
    PAUSED = "paused"
    DELETIONS_FAIL = "deletions_fail"


def ends_soon(claimed_at: datetime, claimed_until: datetime, now: datetime) -> bool:
    """Return whether to warn the owner: at most a tenth of the time is left, and at most a day."""
    return claimed_until - now <= min((claimed_until - claimed_at) / 10, timedelta(days=1))


def may_become_usable(state: WorkspaceState) -> bool:
    """Return whether a person's workspace that is not usable yet is on the way there. A failed hook is tried again."""
    return state in _ON_THE_WAY


def patience(usual: timedelta | None, interval: timedelta, *, fails: bool) -> timedelta:
    """Return how long a pool may be short before it needs attention.

    Args:
        usual: The time within which its prebuilds usually become ready; None: none ever did.
        interval: The time between two ticks, the second of which makes up for a lost message.
        fails: Whether its last start failed.
    """
    if usual is None:
        return timedelta() if fails else _UNKNOWN
    return max(usual, 2 * interval)


def overdue(*, desired: int, desired_before: int, claimable: int, left: int) -> int:
    """Return how many places of a pool have been empty for longer than a span of time.

    They are those that were wanted when it began and still are, less those that prebuilds left within it.

    Args:
        desired: The desired size.
        desired_before: The desired size at the begin of the span.
        claimable: The prebuilds that can be claimed.
        left: The prebuilds that were claimed or chosen for deletion within the span.
    """
    return max(min(desired, desired_before) - claimable - left, 0)


def waiting_for(status: BuildStatus, error_code: str, error: str, ready_timeout: float, now: datetime) -> str:
    """Return what a start that runs waits for until its workspace is ready; empty: it does not, or not for long."""
    waits = read_not_ready(error_code, error) if status in ACTIVE_STATUSES else None
    return f"not ready yet: {waits.sentence(timedelta(seconds=ready_timeout), now)}" if waits else ""
