"""Rules about what listings show."""

from __future__ import annotations

from datetime import datetime, timedelta


def ends_soon(claimed_at: datetime, claimed_until: datetime, now: datetime) -> bool:
    """Return whether to warn the owner: at most a tenth of the time is left, and at most a day."""
    return claimed_until - now <= min((claimed_until - claimed_at) / 10, timedelta(days=1))
