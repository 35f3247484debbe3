"""Arithmetic of the report: hit rate, demand by weekday and hour, and its peak. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

QUARTER = 900
"""Seconds in a quarter of an hour. Timezones differ from UTC by multiples of it."""
_WIDTHS = (QUARTER, 3600, 3 * 3600, 6 * 3600, 86_400, 7 * 86_400)
"""Seconds per point of a curve."""
_POINTS = 60
"""The most points of a curve."""
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class Demand:
    """Claims of one pool that were first requested within one quarter of an hour."""

    quarter: int
    """Quarters of an hour since 1970, UTC."""
    hits: int = 0
    misses: int = 0
    cold_starts: int = 0
    """Misses for which a workspace was started for the owner; part of `misses`."""

    @property
    def claims(self) -> int:
        """All requests: hits and misses."""
        return self.hits + self.misses


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Requests by local weekday (0 is Monday) and hour: seven rows of 24."""

    claims: tuple[tuple[int, ...], ...]
    misses: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class IdleChange:
    """How the number of idle prebuilds changed within a span of time."""

    change: int
    """Those that became idle, less those that no longer were."""
    seconds: float
    """The seconds from each of these changes to the end of the span, counted by its sign."""


def idle_over_time(changes: Mapping[int, IdleChange], first: int, last: int, width: int) -> list[float]:
    """Return the idle seconds, summed over prebuilds, of each span of `width` seconds from `first` to `last`.

    `changes` has the number of a span as key; it begins with those that were idle when the first span began.
    """
    idle, seconds = 0, []
    for bucket in range(first, last + 1):
        item = changes.get(bucket, IdleChange(0, 0.0))
        seconds.append(max(idle * width + item.seconds, 0.0))
        idle += item.change
    return seconds


def hit_rate(hits: int, misses: int) -> float | None:
    """Return the share of hits among all requests, 0 to 1; None without requests."""
    return hits / (hits + misses) if hits + misses else None


def zone_of(name: str) -> tzinfo:
    """Return the timezone of a preset; UTC if it has none, or one that is unknown on this machine."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, OSError, KeyError):
        return UTC


def heat_map(demand: Iterable[tuple[Demand, tzinfo]]) -> HeatMap:
    """Sum requests by weekday and hour, each in the timezone of its pool."""
    claims, misses = ([[0] * 24 for _ in range(7)] for _ in range(2))
    for item, zone in demand:
        local = datetime.fromtimestamp(item.quarter * QUARTER, zone)
        claims[local.weekday()][local.hour] += item.claims
        misses[local.weekday()][local.hour] += item.misses
    return HeatMap(tuple(map(tuple, claims)), tuple(map(tuple, misses)))


def bucket_width(since: datetime, until: datetime) -> int:
    """Return the seconds per point of a curve over a period, so that it has at most 60 points.

    The widest point is a week, so that a curve of more than about a year has more points.
    """
    span = (until - since).total_seconds()
    return next((width for width in _WIDTHS if span / width <= _POINTS), _WIDTHS[-1])


def over_time(demand: Iterable[Demand], width: int) -> list[tuple[datetime, int, int]]:
    """Return (begin, hits, misses) for each span of `width` seconds with requests; `width` is a multiple of QUARTER."""
    sums: dict[int, list[int]] = {}
    for item in demand:
        pair = sums.setdefault(item.quarter * QUARTER // width, [0, 0])
        pair[0] += item.hits
        pair[1] += item.misses
    return [(datetime.fromtimestamp(bucket * width, UTC), *sums[bucket]) for bucket in sorted(sums)]  # type: ignore[misc]


def peak(demand: Iterable[Demand], seconds: float) -> int:
    """Return the most requests that came within `seconds`, rounded up to whole quarters of an hour."""
    by_quarter: dict[int, int] = {}
    for item in demand:
        by_quarter[item.quarter] = by_quarter.get(item.quarter, 0) + item.claims
    length = max(1, -int(-seconds // QUARTER))
    return max((sum(by_quarter.get(first + n, 0) for n in range(length)) for first in by_quarter), default=0)


@dataclass(frozen=True, slots=True)
class BusyHours:
    """The hours in which most misses came, as a schedule can express them.

    The local hours `first` to `last` (inclusive), on the weekdays `days` (0 is Monday).
    """

    first: int
    last: int
    days: tuple[int, ...]
    misses: int

    @property
    def cron(self) -> str:
        """The hours as a cron expression."""
        days = "*" if len(self.days) == 7 else ",".join(str(day) for day in sorted((day + 1) % 7 for day in self.days))
        hours = f"{self.first}-{self.last}" if self.first < self.last else f"{self.first}"
        return f"* {hours} * * {'1-5' if self.days == (0, 1, 2, 3, 4) else days}"

    @property
    def label(self) -> str:
        """The hours in words, as `Mon-Fri 08:00-10:59`."""
        consecutive = len(self.days) > 2 and self.days[-1] - self.days[0] == len(self.days) - 1
        days = f"{DAYS[self.days[0]]}-{DAYS[self.days[-1]]}" if consecutive else ", ".join(DAYS[d] for d in self.days)
        return f"{days} {self.first:02}:00-{self.last:02}:59"


def busy_hours(misses: tuple[tuple[int, ...], ...], share: float = 0.75) -> BusyHours | None:
    """Return the shortest run of hours with at least `share` of all misses; None without misses.

    A run does not cross midnight.
    """
    by_hour = [sum(day[hour] for day in misses) for hour in range(24)]
    total = sum(by_hour)
    if not total:
        return None
    spans = ((first, last) for first in range(24) for last in range(first, 24))
    enough = ((f, n) for f, n in spans if sum(by_hour[f : n + 1]) >= share * total)
    first, last = min(enough, key=lambda span: (span[1] - span[0], -sum(by_hour[span[0] : span[1] + 1]), span))
    inside = [sum(day[first : last + 1]) for day in misses]
    return BusyHours(first, last, tuple(day for day, count in enumerate(inside) if count), sum(inside))
