"""Instants as people give them: how long ago, or a date."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.durations import parse_duration

FORMS = "how long ago, as 12h or 7d, or a date or time as 2026-03-01 or 2026-03-01T08:00+01:00"


def instant(text: str, option: str, now: datetime) -> datetime:
    """The instant meant; without an offset it is UTC. Raises InputError that names the option."""
    day = text.strip()
    if len(day) == 8 and day.isascii() and day.isdecimal():
        # A date without dashes: it is no number of seconds that anybody has in mind.
        with suppress(ValueError):
            return datetime.fromisoformat(day).replace(tzinfo=UTC)
    try:
        return now - timedelta(seconds=parse_duration(text))
    except OverflowError:
        raise InputError(f"{option} {text!r} is too long ago") from None
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"{option} {text!r} is no time", hint=f"write {FORMS}") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
