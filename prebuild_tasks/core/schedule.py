"""Time ranges with a desired size of their own: `MIN HOUR DOM MONTH DOW`, the minute being `*`.

A range is a set of hours, days and months, so membership is a test on sets and overlap is exact: no minute is walked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from prebuild_tasks.core.model import Preset, Schedule

_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_EARLIEST = date(2024, 1, 1)
_CYCLE_YEARS = 28
"""After 28 years every pairing of date and weekday has come up, as long as no century breaks the leap-year rule."""
_SEARCH_DAYS = 400


@dataclass(frozen=True, slots=True)
class CronRange:
    """The minutes a schedule holds in, as local wall-clock sets. Weekdays: 0 is Sunday."""

    hours: frozenset[int]
    days: frozenset[int] | None
    """None: any day of the month."""
    months: frozenset[int]
    weekdays: frozenset[int] | None
    """None: any weekday. Both day fields restricted: either suffices."""

    def holds_on(self, day: date) -> bool:
        """Whether the range holds at some hour of this day."""
        if day.month not in self.months:
            return False
        by_day = self.days is not None and day.day in self.days
        by_weekday = self.weekdays is not None and day.isoweekday() % 7 in self.weekdays
        if self.days is None or self.weekdays is None:
            return (self.days is None or by_day) and (self.weekdays is None or by_weekday)
        return by_day or by_weekday

    def holds(self, local: datetime) -> bool:
        """Whether the range holds at this local time."""
        return local.hour in self.hours and self.holds_on(local.date())


class Overlap(NamedTuple):
    """Two schedules that hold at one same instant."""

    first: int
    second: int
    at: datetime


@lru_cache(maxsize=4096)
def parse(cron: str) -> CronRange:
    """Read five fields. Raises ValueError that says what is wrong and how to write it instead."""
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"{cron!r} has {len(fields)} fields; a range has five, as in * 8-18 * * 1-5")
    if fields[0] != "*":
        raise ValueError(f"the minute is {fields[0]!r} but must be *: a range covers whole hours, as in * 8-18 * * 1-5")
    for name, text in zip(_FIELDS, fields, strict=True):
        _check_field(name, text)
    try:
        parsed = CronSim(cron, datetime(2024, 1, 1))  # noqa: DTZ001 - only its sets are read
    except CronSimError as error:
        raise ValueError(f"{cron!r} can't be read: {error}") from None
    return CronRange(
        hours=frozenset(parsed.hours),
        days=None if _is_any(fields[2]) else frozenset(parsed.days),
        months=frozenset(parsed.months),
        # cronsim counts Sunday as 0 and as 7.
        weekdays=None if _is_any(fields[4]) else frozenset(day % 7 for day in parsed.weekdays if isinstance(day, int)),
    )


def describe(cron: str) -> str:
    """The range in English."""
    return str(CronSim(cron, datetime(2024, 1, 1)).explain())  # noqa: DTZ001 - only its words are read


def desired_at(preset: Preset, now: datetime) -> int:
    """The target size at `now`: that of the schedule which holds, else the base size.

    Bad declarations (unknown zone, overlap, an expression that can't be read) count as no schedule at all; `apply`
    refuses them.
    """
    if not preset.schedules:
        return preset.desired
    ranges = _usable_ranges(preset.schedules, preset.timezone)
    if ranges is None:
        return preset.desired
    local = now.astimezone(ZoneInfo(preset.timezone))
    for held, desired in ranges:
        if held.holds(local):
            return desired
    return preset.desired


def next_change(preset: Preset, now: datetime) -> tuple[datetime, int] | None:
    """When the target size changes next, and to what; None when it does not within 400 days."""
    if not preset.schedules:
        return None
    current = desired_at(preset, now)
    # Zones differ from UTC by multiples of 15 minutes, so every local hour begins on a quarter of an hour of UTC.
    instant = now.replace(minute=now.minute - now.minute % 15, second=0, microsecond=0)
    for _ in range(_SEARCH_DAYS * 96):
        instant += timedelta(minutes=15)
        if (desired := desired_at(preset, instant)) != current:
            return instant, desired
    return None


@lru_cache(maxsize=4096)
def _overlap(schedules: tuple[Schedule, ...], timezone: str) -> Overlap | None:
    zone = ZoneInfo(timezone)
    parsed = [parse(schedule.cron) for schedule in schedules]
    for first, second in combinations(range(len(parsed)), 2):
        a, b = parsed[first], parsed[second]
        hours = sorted(a.hours & b.hours)
        if not hours or not a.months & b.months:
            continue
        for day in _common_days(a, b):
            for hour in hours:
                at = datetime(day.year, day.month, day.day, hour, tzinfo=zone)
                if _exists(at):
                    return Overlap(first, second, at)
    return None


def find_overlap(schedules: Sequence[Schedule], timezone: str = "UTC") -> Overlap | None:
    """The first instant at which two of them hold, exact over the whole calendar; None when there is none.

    Raises ValueError for an expression that can't be read, ZoneInfoNotFoundError for an unknown zone.
    """
    return _overlap(tuple(schedules), timezone)


def _common_days(a: CronRange, b: CronRange) -> Iterator[date]:
    day, end = _EARLIEST, _EARLIEST.replace(year=_EARLIEST.year + _CYCLE_YEARS)
    months = a.months & b.months
    while day < end:
        if day.month not in months:
            day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            continue
        if a.holds_on(day) and b.holds_on(day):
            yield day
        day += timedelta(days=1)


def _exists(local: datetime) -> bool:
    """Whether this wall-clock hour happens: in spring one does not, and only its first minute is asked for."""
    utc = ZoneInfo("UTC")
    return any(
        (moment := local.replace(minute=minute)).astimezone(utc).astimezone(local.tzinfo).replace(tzinfo=None)
        == moment.replace(tzinfo=None)
        for minute in (0, 15, 30, 45)
    )


@lru_cache(maxsize=4096)
def _usable_ranges(schedules: tuple[Schedule, ...], timezone: str) -> tuple[tuple[CronRange, int], ...] | None:
    try:
        if not timezone:
            return None
        ZoneInfo(timezone)
        if find_overlap(schedules, timezone):
            return None
        return tuple((parse(schedule.cron), schedule.desired) for schedule in schedules)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError; a directory's name is an OSError
        return None


_PART = re.compile(r"(\*|(\d+|[A-Za-z]{3})(-(\d+|[A-Za-z]{3}))?)(/\d+)?")
_BOUNDS = {"hour": (0, 23), "day of month": (1, 31), "month": (1, 12), "day of week": (0, 6)}


def _is_any(text: str) -> bool:
    return text in ("*", "*/1")


def _check_field(name: str, text: str) -> None:
    for part in text.split(","):
        if not _PART.fullmatch(part):
            raise ValueError(f"the {name} {part!r} is not taken: use *, numbers, lists, ranges and steps")
        first, _, last = part.partition("/")[0].partition("-")
        if name == "day of week" and "7" in (first, last):
            raise ValueError("weekday 7 is not taken: Sunday is 0")
        if name in _BOUNDS and first.isdigit() and last.isdigit() and int(first) > int(last):
            low, high = _BOUNDS[name]
            left = first if int(first) == high else f"{first}-{high}"
            right = last if int(last) == low else f"{low}-{last}"
            raise ValueError(f"the {name} {part!r} wraps around, which is not taken: write {left},{right}")
