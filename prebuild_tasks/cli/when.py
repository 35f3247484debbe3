"""Instants and durations on the command line. An instant is given as a duration before now or as a date."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.durations import parse_duration

FORMS = "an age such as 12h or 7d, or a date or time such as 2026-03-01 or 2026-03-01T08:00+01:00"


def parse_instant(text: str, option: str, now: datetime) -> datetime:
    """Return the instant that a text means. A date or time without an offset is UTC.

    Args:
        text: The text, in one of the forms that `FORMS` describes.
        option: The option, for the error.
        now: The current time.

    Raises:
        InputError: When the text cannot be read as a time.
    """
    day = text.strip()
    if len(day) == 8 and day.isascii() and day.isdecimal():
        # Eight digits are a date without dashes rather than a number of seconds.
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
        raise InputError(f"cannot read {option} {text!r} as a time", hint=f"write {FORMS}") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)


def seconds_of(text: str, option: str) -> float:
    """Return the seconds of a duration. Raises InputError, which names the option, for a text that is none."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from None
