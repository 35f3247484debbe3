"""Text forms of instants, durations, lists and counts, for every sentence that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def planned(*, replace: int = 0, create: int = 0, delete: int = 0) -> str:
    """Word what will happen to the prebuilds of a pool: `replace 2, create 1`, or that nothing will."""
    counts = {"replace": replace, "create": create, "delete": delete}
    parts = [f"{verb} {count}" for verb, count in counts.items() if count]
    return ", ".join(parts) or "nothing to build or delete"


def held_back(reason: str) -> str:
    """Word why a pool does not do that yet, by the code of the reason, as the end of a sentence."""
    return f", but held back: {reason.replace('_', ' ')}"


def cut_middle(text: str, width: int, head: int | None = None) -> str:
    """Shorten a text to a width, with an ellipsis in its middle, or after its first `head` letters."""
    if len(text) <= width:
        return text
    kept = max(width - 1, 0)
    first = (kept + 1) // 2 if head is None else min(head, kept)
    return text[:first] + "…" + text[len(text) - (kept - first) :]


def cut_names(names: Sequence[str], width: int) -> list[str]:
    """Shorten different names to a width so that they stay different, as far as one ellipsis in each can do that."""
    kept = max(width - 1, 0)
    middle = (kept + 1) // 2
    shown = {name: cut_middle(name, width) for name in names}
    for _, alike in _alike(shown):
        heads = sorted(range(kept + 1), key=lambda head: abs(head - middle))
        best = max(heads, key=lambda head: len({cut_middle(name, width, head) for name in alike}))
        shown |= {name: cut_middle(name, width, best) for name in alike}
    return [shown[name] for name in names]


def _alike(shown: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Return the names that look the same, by what they look like."""
    groups: dict[str, list[str]] = {}
    for name, text in shown.items():
        groups.setdefault(text, []).append(name)
    return [(text, names) for text, names in groups.items() if len(names) > 1]
