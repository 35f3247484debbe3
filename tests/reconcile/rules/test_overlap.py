"""Overlaps: instants at which two ranges hold, anywhere in the calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prebuild_tasks.model.vocabulary import Schedule
from prebuild_tasks.reconcile.rules.schedule import find_overlap, parse_cron, read_range

CYCLE = [date.fromordinal(day) for day in range(date(2024, 1, 1).toordinal(), date(2052, 1, 1).toordinal())]


def overlap(*crons: str, timezone: str = "UTC") -> tuple[int, int, datetime] | None:
    return find_overlap([Schedule(cron, number) for number, cron in enumerate(crons)], timezone)


@pytest.mark.parametrize(
    ("first", "second", "at"),
    [
        ("* 9 1 * 1", "* 9 * * 2", "2024-10-01T09"),  # Tuesday the 1st, which the reference misses
        ("* 9-12 * * 1-5", "* 12-14 * * 1-5", "2024-01-01T12"),
        ("* 9 * * *", "* 9 29 2 *", "2024-02-29T09"),
        ("* 9 29 2 *", "* 9 * 2 0", "2032-02-29T09"),  # Feb 29 on a Sunday
        ("* 9 29 2 *", "* 9 * 2 3", "2040-02-29T09"),
        ("* 9 29 2 *", "* 9 * 2 6", "2048-02-29T09"),
        ("* 9 31 * *", "* 9 * 12 5", "2027-12-31T09"),
        ("* */2 * * *", "* 3,5,6 * * *", "2024-01-01T06"),
        ("* 9 */2 * *", "* 9 31 1 *", "2024-01-31T09"),
        ("* 9 * * 0", "* 9 1-7 * *", "2024-01-07T09"),
        ("* 9 31 2 1", "* 9 * 2 1", "2024-02-05T09"),  # either day field suffices
    ],
)
def test_overlapping(first: str, second: str, at: str) -> None:
    found = overlap(first, second)
    assert found == (0, 1, datetime.fromisoformat(at).replace(tzinfo=UTC))
    assert parse_cron(first).holds(found[2])
    assert parse_cron(second).holds(found[2])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("* 8-11 * * *", "* 12-18 * * *"),
        ("* 9 * * 1-5", "* 9 * * 6,0"),
        ("* 9 * 1-6 *", "* 9 * 7-12 *"),
        ("* 9 1-15 * *", "* 9 16-31 * *"),
        ("* */2 * * *", "* 1/2 * * *"),
        ("* 9 1 * 1", "* 10 1 * 1"),
        ("* 9 31 * *", "* 9 * 2,4,6,9,11 *"),  # no such month has a 31st
        ("* 9 30 2 *", "* 9 * * *"),  # never applies, so it overlaps with nothing
        ("* 9 30 2 *", "* 9 30 2 *"),
        ("* 9 * * 1/2", "* 9 * * 0"),  # not Sunday as cronsim's 7
    ],
)
def test_not_overlapping(first: str, second: str) -> None:
    assert overlap(first, second) is None
    assert overlap(second, first) is None


def test_the_positions_are_those_of_the_schedules() -> None:
    found = overlap("* 1 * * *", "* 5 * * 1", "* 3 * * *", "* 5 * * 1-2")
    assert found is not None
    assert found[:2] == (1, 3)
    assert overlap() is None
    assert overlap("* 5 * * *") is None


def test_the_instant_is_in_the_zone() -> None:
    found = overlap("* 9 * * *", "* 9 * 7 *", timezone="Asia/Kolkata")
    assert found is not None
    assert found[2] == datetime(2024, 7, 1, 3, 30, tzinfo=UTC)
    assert found[2].tzinfo == ZoneInfo("Asia/Kolkata")


def test_an_hour_the_clock_leaves_out_is_not_an_instant() -> None:
    """Both ranges share only hour 2 of the last Sunday of March, which Berlin skips."""
    ranges = ("* 2 25-31 3 *", "* 2 * 3 0")
    assert overlap(*ranges, timezone="Europe/Berlin") is None
    assert overlap(*ranges) is not None


def test_an_hour_the_clock_shortens_is_one_from_where_it_begins() -> None:
    """Lord Howe goes from 2:00 to 2:30 on the first Sunday of October."""
    found = overlap("* 2 1-7 10 *", "* 2 * 10 0", timezone="Australia/Lord_Howe")
    assert found is not None
    assert f"{found[2]:%m-%d %H:%M}" == "10-06 02:30"


def test_what_cannot_be_checked_raises() -> None:
    with pytest.raises(ValueError, match="hour"):
        overlap("* 9 * * *", "* x * * *")
    with pytest.raises(ZoneInfoNotFoundError):
        overlap("* 9 * * *", "* 9 * * *", timezone="Mars/Olympus")


def test_the_years_searched_pair_every_date_with_every_weekday() -> None:
    assert len({(day.month, day.day, day.weekday()) for day in CYCLE}) == 366 * 7


def numbers(low: int, high: int) -> st.SearchStrategy[frozenset[int] | None]:
    return st.none() | st.frozensets(st.integers(low, high), min_size=1, max_size=3)


RANGE = st.tuples(numbers(0, 3), numbers(27, 31), numbers(1, 4), numbers(0, 6))


def written(fields: tuple[frozenset[int] | None, ...]) -> str:
    texts = ["*" if values is None else ",".join(map(str, sorted(values))) for values in fields]
    return " ".join(["*", *texts])


def days_of(fields: tuple[frozenset[int] | None, ...]) -> set[date]:
    """Return every day of 28 years on which a range holds, directly by the definition."""
    _, days, months, weekdays = fields

    def holds(day: date) -> bool:
        by_day = days is None or day.day in days
        by_weekday = weekdays is None or day.isoweekday() % 7 in weekdays
        both_restricted = days is not None and weekdays is not None
        either = (by_day or by_weekday) if both_restricted else (by_day and by_weekday)
        return either and (months is None or day.month in months)

    return {day for day in CYCLE if holds(day)}


@settings(max_examples=150, deadline=None)
@given(RANGE, RANGE)
def test_the_verdict_is_that_of_walking_every_day(
    a: tuple[frozenset[int] | None, ...], b: tuple[frozenset[int] | None, ...]
) -> None:
    every_hour = frozenset(range(24))
    hours = (every_hour if a[0] is None else a[0]) & (every_hour if b[0] is None else b[0])
    common = days_of(a) & days_of(b)
    found = overlap(written(a), written(b))
    if not hours or not common:
        assert found is None
    else:
        day = min(common)
        assert found == (0, 1, datetime(day.year, day.month, day.day, min(hours), tzinfo=UTC))


@settings(max_examples=60, deadline=None)
@given(RANGE, RANGE, st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "America/Los_Angeles", "Australia/Lord_Howe"]))
def test_the_verdict_is_that_of_walking_real_time(
    a: tuple[frozenset[int] | None, ...], b: tuple[frozenset[int] | None, ...], timezone: str
) -> None:
    # Not `parse_cron`, which refuses 30 February.
    zone, one, other = ZoneInfo(timezone), read_range(written(a)), read_range(written(b))
    found = overlap(written(a), written(b), timezone=timezone)
    moment = datetime(2024, 1, 1, tzinfo=zone).astimezone(UTC)
    for _ in range(3 * 366 * 24):
        local = moment.astimezone(zone)
        if one.holds(local) and other.holds(local):
            assert found is not None
            assert found[2] <= moment
            break
        moment += timedelta(hours=1)
    else:
        assert found is None or found[2] > moment - timedelta(hours=1)
    if found:
        real = found[2].astimezone(UTC).astimezone(zone)
        assert real.replace(tzinfo=None) == found[2].replace(tzinfo=None)
        assert one.holds(real)
        assert other.holds(real)
