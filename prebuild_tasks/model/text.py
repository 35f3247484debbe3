"""Text forms of instants, durations, lists and counts, for every sentence that people read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_DAY, _HOUR, _MINUTE = 86400, 3600, 60


def span(duration: timedelta) -> str:
    """Format a duration approximately: `0.4 s`, `45 s`, `12 min`, `3 h 5 min`, `2 days`."""
    seconds = max(duration.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        hours, rest = divmod(round(seconds / _MINUTE), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{seconds / _DAY:.0f} days"


def instant(at: datetime, now: datetime) -> str:
    """Format an instant in UTC with its distance: `10:32:05 UTC (in 45 s)`; with the date if it is another day."""
    form = "%H:%M:%S" if at.astimezone(UTC).date() == now.astimezone(UTC).date() else "%Y-%m-%d %H:%M"
    away = f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"
    return f"{at.astimezone(UTC):{form}} UTC ({away})"


def local(at: datetime, now: datetime, timezone: str) -> str:
    """Format a future instant in a time zone: `Wed 18:00 Europe/Berlin`; with the date if six days or more away."""
    form = "%a %H:%M" if at - now < timedelta(days=6) else "%a %d %b %Y %H:%M"
    return f"{at.astimezone(ZoneInfo(timezone)):{form}} {timezone}"


def listed(items: list[str], most: int = 3) -> str:
    """Join items as in `a, b and c`, or `a, b, c and 4 more` beyond `most` items."""
    shown = items[:most] + ([f"{len(items) - most} more"] if len(items) > most else [])
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1] if shown else "") if part)


def number(count: int, what: str) -> str:
    """Format a count with its noun: `1 build`, `2 builds`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
