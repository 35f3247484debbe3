"""Rules about what listings show."""

from __future__ import annotations

from datetime import datetime, timedelta

from prebuild_tasks.model.text import number


def ends_soon(claimed_at: datetime, claimed_until: datetime, now: datetime) -> bool:
    """Return whether to warn the owner: at most a tenth of the time is left, and at most a day."""
    return claimed_until - now <= min((claimed_until - claimed_at) / 10, timedelta(days=1))


def unhealthy_claim(failures: int, message: str) -> str:
    """Return the reason of a claimed workspace that fails its probes, with the way out."""
    return f"unhealthy: failed {number(failures, 'probe')} in a row: {message}; release it and claim another one"
