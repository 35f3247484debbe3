"""Rules about what listings show."""

from __future__ import annotations

from datetime import datetime, timedelta

from prebuild_tasks.builds import read_not_ready
from prebuild_tasks.model.vocabulary import ACTIVE_STATUSES, BuildStatus


def ends_soon(claimed_at: datetime, claimed_until: datetime, now: datetime) -> bool:
    """Return whether to warn the owner: at most a tenth of the time is left, and at most a day."""
    return claimed_until - now <= min((claimed_until - claimed_at) / 10, timedelta(days=1))


def waiting_for(status: BuildStatus, error_code: str, error: str, ready_timeout: float, now: datetime) -> str:
    """Return what a start that runs waits for until its workspace is ready; empty: it does not, or not for long."""
    waits = read_not_ready(error_code, error) if status in ACTIVE_STATUSES else None
    return f"not ready yet: {waits.sentence(timedelta(seconds=ready_timeout), now)}" if waits else ""
