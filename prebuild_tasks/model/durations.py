"""Durations as people write them: seconds, `15s`, `5m`, `8h`, `14d`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")


def parse_duration(value: object) -> float:
    """Convert `15`, `"15s"`, `"5m"`, `"8h"`, `"14d"` or `"1h30m"` to seconds. Raises ValueError for other forms."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip()
    rest, total = text, 0.0
    while rest and (part := _DURATION.match(rest)):
        total += float(part[1]) * _UNITS[part[2] or "s"]
        rest = rest[part.end() :].lstrip()
    if rest or not text:
        raise ValueError(
            f"{text!r} is not a duration; write seconds, or a number with ms, s, m, h or d, such as 15s or 8h"
        )
    return total


def duration_text(seconds: float) -> str:
    """Return a duration as `parse_duration` reads it, with the largest unit of which it is a multiple: `90s`, `14d`."""
    for unit in ("d", "h", "m"):
        count, rest = divmod(seconds, _UNITS[unit])
        if count and not rest:
            return f"{count:.0f}{unit}"
    return f"{seconds:g}s"


LONGEST = 3_155_760_000
"""The longest duration in seconds: a hundred years, so that `now` minus a duration is a date that Python can hold."""
