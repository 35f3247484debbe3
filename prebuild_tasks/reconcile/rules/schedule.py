"""Schedules: times at which a pool has another desired size, written as `MIN HOUR DOM MONTH DOW` with `*` as minute.

A schedule is a set of hours, days and months, so membership is a test on sets, and overlap is exact without walking
through minutes. The fields are not read by cronsim, which takes 7 as Sunday (also as the end of `1/2`), reads `9-9/2`
as `9-23/2`, and lets `*/2` in one day field turn "either suffices" into "both must".
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple
from zoneinfo import ZoneInfo

from prebuild_tasks.model.vocabulary import Preset, Schedule

_EARLIEST = date(2024, 1, 1).toordinal()
_LATEST = date(2052, 1, 1).toordinal()
"""28 years combine every date, including Feb 29, with every weekday, unless a century breaks the leap-year rule."""
_QUARTER = timedelta(minutes=15)
"""Time zones differ from UTC by multiples of this, so every local hour begins at a quarter of an hour in UTC."""
_SEARCH = timedelta(days=400)
"""The time span in which the next change of the desired size is searched."""
_CACHED = 1 << 14
"""The size of caches, above the number of presets of a big installation: a tick visits all presets in turn, so that a
cache with one entry too few would never hit."""


@dataclass(frozen=True, slots=True)
class CronRange:
    """The local times at which a schedule applies."""

    hours: frozenset[int]
    days: frozenset[int] | None
    """Days of the month; None: any."""
    months: frozenset[int]
    weekdays: frozenset[int] | None
    """Weekdays, where 0 is Sunday; None: any. If days are restricted as well, either suffices."""

    def holds_on(self, day: date) -> bool:
        """Return whether the schedule applies at some hour of this day."""
        if day.month not in self.months:
            return False
        by_day = self.days is not None and day.day in self.days
        by_weekday = self.weekdays is not None and day.isoweekday() % 7 in self.weekdays
        return by_day or by_weekday or (self.days is None and self.weekdays is None)

    def holds(self, local: datetime) -> bool:
        """Return whether the schedule applies at this local time."""
        return local.hour in self.hours and self.holds_on(local)


class Overlap(NamedTuple):
    """Two schedules that apply at the same time."""

    first: int
    """The position of one of them."""
    second: int
    """The position of the other."""
    at: datetime
    """The first such time after 2023, in the schedules' time zone."""


def parse_cron(cron: str) -> CronRange:
    """Read a schedule's five fields.

    Raises:
        ValueError: A field cannot be read, or no date matches. The message tells how to write it instead.
    """
    cron_range = read_range(cron)
    if not _dates(cron_range):
        raise ValueError(f"{cron!r} never applies: these months do not have these days")
    return cron_range


def desired_at(preset: Preset, now: datetime) -> int:
    """Return the desired size at `now`: that of the schedule that applies, or else the preset's own.

    Invalid schedules (an unknown time zone, an overlap, an unreadable expression) are ignored; `apply` refuses them.
    """
    if not preset.schedules or (usable := _usable(preset.schedules, preset.timezone)) is None:
        return preset.desired
    local = now.astimezone(usable.zone)
    return next((desired for cron_range, desired in usable.ranges if cron_range.holds(local)), preset.desired)


def schedule_at(preset: Preset, now: datetime) -> Schedule | None:
    """Return the schedule that applies at `now`; None if none does."""
    if not preset.schedules or (usable := _usable(preset.schedules, preset.timezone)) is None:
        return None
    local = now.astimezone(usable.zone)
    pairs = zip(preset.schedules, usable.ranges, strict=True)
    return next((schedule for schedule, (cron_range, _) in pairs if cron_range.holds(local)), None)


def has_usable_schedules(preset: Preset) -> bool:
    """Return whether the preset's schedules are valid: the machine knows the time zone, and no two of them overlap."""
    return not preset.schedules or _usable(preset.schedules, preset.timezone) is not None


def next_change(preset: Preset, now: datetime) -> tuple[datetime, int] | None:
    """Return when (in UTC) and to what the desired size changes next; None if it does not within 400 days."""
    if not preset.schedules or _usable(preset.schedules, preset.timezone) is None:
        return None
    instant = now.astimezone(UTC)
    quarter = instant.replace(minute=instant.minute - instant.minute % 15, second=0, microsecond=0)
    return search_change(preset.schedules, preset.timezone, preset.desired, desired_at(preset, now), quarter)


@lru_cache(maxsize=_CACHED)
def search_change(
    schedules: tuple[Schedule, ...], timezone: str, base: int, current: int, instant: datetime
) -> tuple[datetime, int] | None:
    """Search the next change from a quarter of an hour on.

    Cached, because the search may walk through 400 days, and a watched status repeats it every second.
    """
    if (usable := _usable(schedules, timezone)) is None:
        return None
    end, today, by_hour = instant + _SEARCH, date.min, [current] * 24
    while instant < end:
        instant += _QUARTER
        local = instant.astimezone(usable.zone)
        if local.date() != today:
            today = local.date()
            applying = [(item.hours, size) for item, size in usable.ranges if item.holds_on(today)]
            by_hour = [next((size for hours, size in applying if h in hours), base) for h in range(24)]
        if by_hour[local.hour] != current:
            return instant, by_hour[local.hour]
        if set(by_hour) == {current}:
            # Skip the day without its last hours, because a change of the clock may make it shorter.
            instant += max(timedelta(hours=20 - local.hour), timedelta())
    return None


def find_overlap(schedules: Sequence[Schedule], timezone: str = "UTC") -> Overlap | None:
    """Return the first two schedules that apply at the same time; None if no two do. The whole calendar is covered.

    Raises:
        ValueError: An expression cannot be read.
        ZoneInfoNotFoundError: The time zone is unknown.
    """
    zone = ZoneInfo(timezone)
    ranges = [read_range(schedule.cron) for schedule in schedules]
    for (first, a), (second, b) in combinations(enumerate(ranges), 2):
        if (hours := a.hours & b.hours) and _dates(a) & _dates(b) and (at := _first_common(a, b, hours, zone)):
            return Overlap(first, second, at)
    return None


class _Usable(NamedTuple):
    # Kept with the ranges because ZoneInfo caches only 8 zones and reads the others from disk again.
    zone: ZoneInfo
    ranges: tuple[tuple[CronRange, int], ...]


@lru_cache(maxsize=_CACHED)
def _usable(schedules: tuple[Schedule, ...], timezone: str) -> _Usable | None:
    try:
        if not timezone or find_overlap(schedules, timezone):
            return None
        return _Usable(ZoneInfo(timezone), tuple((read_range(item.cron), item.desired) for item in schedules))
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError; a directory's name is an OSError
        return None


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
    """Return bit sets of all pairs of a date and a weekday, by month, by day of the month, and by weekday."""
    months, days, weekdays = dict.fromkeys(range(13), 0), dict.fromkeys(range(32), 0), dict.fromkeys(range(7), 0)
    bit = 1
    for month in range(1, 13):
        for day in range(1, monthrange(2024, month)[1] + 1):
            for weekday in range(7):
                months[month] |= bit
                days[day] |= bit
                weekdays[weekday] |= bit
                bit <<= 1
    return months, days, weekdays


@lru_cache(maxsize=_CACHED)
def _dates(cron_range: CronRange) -> int:
    """Return the pairs of date and weekday on which a range applies, as bits. Ranges share a day if their bits do."""
    months, days, weekdays = _tables()
    in_month = in_day = 0
    for month in cron_range.months:
        in_month |= months[month]
    if cron_range.days is None and cron_range.weekdays is None:
        return in_month
    for day in cron_range.days or ():
        in_day |= days[day]
    for weekday in cron_range.weekdays or ():
        in_day |= weekdays[weekday]
    return in_month & in_day


def _first_common(a: CronRange, b: CronRange, hours: frozenset[int], zone: ZoneInfo) -> datetime | None:
    """Return the first time that exists and at which both apply; None if clock changes skip all of them."""
    for ordinal in range(_EARLIEST, _LATEST):
        day = date.fromordinal(ordinal)
        if a.holds_on(day) and b.holds_on(day):
            for hour in sorted(hours):
                for minute in (0, 15, 30, 45):
                    at = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                    if at.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == at.replace(tzinfo=None):
                        return at
    return None


_PART = re.compile(r"(?:\*|([0-9]{1,4}|[a-z]{3})(?:-([0-9]{1,4}|[a-z]{3}))?)(?:/([0-9]{1,4}))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Field:
    """One of a schedule's five fields."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    """Names of its numbers, from `low` on."""

    def read(self, text: str) -> frozenset[int] | None:
        """Return the field's values; None if it is `*`, alone or in a list."""
        values: set[int] = set()
        unrestricted = False
        for part in text.split(","):
            if not (match := _PART.fullmatch(part)):
                raise ValueError(f"the {self.name} {part!r} is not supported: use *, numbers, lists, ranges and steps")
            start, end, every = match.groups()
            if not (step := int(every or 1)):
                raise ValueError(f"the {self.name} {part!r} has step 0: the smallest step is 1")
            first = self._number(start, part) if start else self.low
            last = self._number(end, part) if end else first if start and not every else self.high
            if first > last:
                fix = self._unwrapped(first, last, step)
                raise ValueError(f"the {self.name} {part!r} wraps around, which is not supported: write {fix}")
            values.update(range(first, last + 1, step))
            unrestricted = unrestricted or (not start and step == 1)
        return None if unrestricted else frozenset(values)

    def _number(self, text: str, part: str) -> int:
        if text.lower() in self.names:
            return self.low + self.names.index(text.lower())
        if not text.isdecimal():
            raise ValueError(f"the {self.name} {part!r} is not supported: {text!r} is not a {self.name}")
        if self.name == "day of week" and int(text) == 7:
            raise ValueError(f"the {self.name} {part!r} is not supported: Sunday is 0, not 7")
        if not self.low <= int(text) <= self.high:
            raise ValueError(f"the {self.name} {part!r} is outside {self.low}-{self.high}")
        return int(text)

    def _unwrapped(self, first: int, last: int, step: int) -> str:
        if step > 1:
            values = [*range(first, self.high + 1), *range(self.low, last + 1)][::step]
            return ",".join(str(value) for value in values)
        left = f"{first}-{self.high}" if first < self.high else f"{first}"
        right = f"{self.low}-{last}" if last > self.low else f"{last}"
        return f"{left},{right}"


_HOUR = _Field("hour", 0, 23)
_DAY = _Field("day of month", 1, 31)
_MONTH = _Field("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
_WEEKDAY = _Field("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))


@lru_cache(maxsize=_CACHED)
def read_range(cron: str) -> CronRange:
    """Read a schedule's five fields, also where no date matches, such as 30 February."""
    fields = cron.split()
    if len(fields) != 5:
        raise ValueError(f"{cron!r} has {len(fields)} fields; a schedule has five, as in * 8-18 * * 1-5")
    minute, hour, day, month, weekday = fields
    if minute != "*":
        raise ValueError(f"the minute is {minute!r} but must be *: a schedule covers whole hours, as in * 8-18 * * 1-5")
    return CronRange(
        hours=_HOUR.read(hour) or frozenset(range(24)),
        days=_DAY.read(day),
        months=_MONTH.read(month) or frozenset(range(1, 13)),
        weekdays=_WEEKDAY.read(weekday),
    )
