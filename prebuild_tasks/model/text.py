"""Text forms of instants, durations, lists and counts, for every sentence that people read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_DAY, _HOUR, _MINUTE = 86400, 3600, 60
_INSTANT = re.compile(
    r"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)"
    r"(Z|[+-]\d\d:\d\d| [A-Z]\w+(?:/[\w+-]+)*)(?!\w)",
    re.ASCII,
)
"""An instant in a sentence: as the functions below write it, or in ISO 8601 with an offset."""


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


def in_utc(at: datetime) -> str:
    """Format an instant in UTC: `2026-03-02 10:32:05 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def instant(at: datetime, now: datetime) -> str:
    """Format an instant in UTC with its distance: `2026-03-02 10:32:05 UTC (in 45 s)`."""
    return f"{in_utc(at)} ({f'in {span(at - now)}' if at > now else f'{span(now - at)} ago'})"


def local(at: datetime, timezone: str) -> str:
    """Format an instant of a schedule in its time zone: `Mon 2026-03-02 18:00 Europe/Berlin`."""
    return f"{at.astimezone(ZoneInfo(timezone)):%a %Y-%m-%d %H:%M} {timezone}"


def split_at_instants(text: str) -> Iterator[tuple[str, datetime | None]]:
    """Split a text into its instants, each with its meaning, and the texts between them, which have none."""
    end = 0
    for match in _INSTANT.finditer(text):
        if (at := _read(*match.groups())) is not None:
            yield text[end : match.start()], None
            yield match[0], at
            end = match.end()
    yield text[end:], None


def _read(day: str, time: str, zone: str) -> datetime | None:
    try:
        if not zone.startswith(" "):
            return datetime.fromisoformat(f"{day}T{time}{zone}")
        # A name that is a folder of zones, such as America, is an OSError.
        return datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=ZoneInfo(zone[1:]))
    except (ValueError, KeyError, OSError):
        return None


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
