"""The desired size by schedule: parsing ranges, local time, clock changes, the next change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from prebuild_tasks.model.vocabulary import Preset, Schedule
from prebuild_tasks.reconcile.rules.schedule import desired_at, next_change, parse_cron, search_change

BASE = 1
WEEKDAYS = frozenset({1, 2, 3, 4, 5})
ALL_MONTHS = frozenset(range(1, 13))


def at(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def preset(*schedules: tuple[str, int], timezone: str = "UTC", desired: int = BASE) -> Preset:
    return Preset("p", desired, timezone=timezone, schedules=tuple(Schedule(*item) for item in schedules))


@pytest.mark.parametrize(
    ("cron", "hours", "days", "months", "weekdays"),
    [
        ("* 8-18 * * 1-5", range(8, 19), None, ALL_MONTHS, WEEKDAYS),
        ("* */6 * * *", {0, 6, 12, 18}, None, ALL_MONTHS, None),
        ("* 1,3-5,20-23/2 * * *", {1, 3, 4, 5, 20, 22}, None, ALL_MONTHS, None),
        ("* 9 1,15 1-3 *", {9}, {1, 15}, {1, 2, 3}, None),
        ("* 9 * jan,DEC Mon-fri", {9}, None, {1, 12}, WEEKDAYS),
        ("* 9 * * 1/2", {9}, None, ALL_MONTHS, {1, 3, 5}),  # not Sunday, which cronsim reaches as 7
        ("* 9 * * */3", {9}, None, ALL_MONTHS, {0, 3, 6}),
        ("* 20/2 * * *", {20, 22}, None, ALL_MONTHS, None),
        ("* 9-9/2 * * *", {9}, None, ALL_MONTHS, None),
        ("* 9 *,1 * 1", {9}, None, ALL_MONTHS, {1}),  # a * in a list leaves the field unrestricted
        ("* 9 */1 * 1", {9}, None, ALL_MONTHS, {1}),
        ("*  09\t* * *", {9}, None, ALL_MONTHS, None),
        ("* * * * *", range(24), None, ALL_MONTHS, None),
        ("* 9 31 2 */2", {9}, {31}, {2}, {0, 2, 4, 6}),  # the weekdays suffice
    ],
)
def test_a_range_is_sets(
    cron: str, hours: set[int], days: set[int] | None, months: set[int], weekdays: set[int] | None
) -> None:
    held = parse_cron(cron)
    assert held.hours == set(hours)
    assert (held.days, held.months, held.weekdays) == (days, months, weekdays)


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 8-18 * * 1-5", "the minute is '0' but must be *"),
        ("*/1 8-18 * * 1-5", "the minute"),
        ("* 22-2 * * *", "write 22-23,0-2"),
        ("* 23-0 * * *", "write 23,0"),
        ("* 22-3/2 * * *", "write 22,0,2"),
        ("* 9 * * fri-mon", "write 5-6,0-1"),
        ("* 9 * nov-feb *", "write 11-12,1-2"),
        ("* 9 * * 7", "Sunday is 0"),
        ("* 9 * * 07", "Sunday is 0"),
        ("* 9 * * 5-7", "Sunday is 0"),
        ("* 24 * * *", "outside 0-23"),
        ("* 9 0 * *", "outside 1-31"),
        ("* 9 * 13 *", "outside 1-12"),
        ("* */0 * * *", "step 0"),
        ("* 9 31 2 *", "never applies"),
        ("* 9 L * *", "day of month 'L'"),
        ("* 9 LW * *", "day of month"),
        ("* 9 * * 1#2", "day of week"),
        ("* 9 * * 5L", "day of week"),
        ("* 9 15W * *", "day of month"),
        ("* 9 ? * *", "day of month"),
        ("* -1 * * *", "hour"),
        ("* 1- * * *", "hour"),
        ("* 1,,2 * * *", "hour"),
        ("* 1-2-3 * * *", "hour"),
        ("* ٣ * * *", "hour"),
        ("* 9 * mon *", "is not a month"),
        ("* 9 * *", "has 4 fields"),
        ("0 * 9 * * *", "has 6 fields"),
        ("@daily", "has 1 fields"),
        ("", "has 0 fields"),
        ("* " + "9" * 5000 + " * * *", "hour"),
    ],
)
def test_a_range_that_cannot_be_taken_says_why(cron: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_cron(cron)
    assert desired_at(preset((cron, 9)), at("2026-03-02T09:30")) == BASE


def ranged(low: int, high: int) -> st.SearchStrategy[str]:
    """Draw `*`, or one range with or without a step, without forms that cronsim reads differently."""
    bounds = st.lists(st.integers(low, high), min_size=2, max_size=2, unique=True).map(sorted)
    one = st.builds(lambda ends, step: f"{ends[0]}-{ends[1]}" + f"/{step}" * (step > 1), bounds, st.integers(1, 3))
    return st.just("*") | st.integers(low, high).map(str) | st.lists(one, min_size=1, max_size=3).map(",".join)


@given(hour=ranged(0, 23), day=ranged(1, 28), month=ranged(1, 12), weekday=ranged(0, 6))
def test_ordinary_ranges_are_read_as_cronsim_reads_them(hour: str, day: str, month: str, weekday: str) -> None:
    cron = f"* {hour} {day} {month} {weekday}"
    theirs = CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC))
    held = parse_cron(cron)
    assert held.hours == theirs.hours
    assert held.months == theirs.months
    moment = datetime(2024, 1, 1, 12, tzinfo=UTC)
    for _ in range(400):
        assert held.holds_on(moment) == (moment.month in theirs.months and theirs.match_day(moment.date()))
        moment += timedelta(days=1)


@pytest.mark.parametrize(
    ("cron", "now", "held"),
    [
        ("* 8-18 * * 1-5", "2026-03-02T07:59:59.999999", False),  # a Monday
        ("* 8-18 * * 1-5", "2026-03-02T08:00:00", True),
        ("* 8-18 * * 1-5", "2026-03-02T18:59:59.999999", True),
        ("* 8-18 * * 1-5", "2026-03-02T19:00:00", False),
        ("* 8-18 * * 1-5", "2026-03-01T12:00:00", False),
        ("* 8-18 * * 0", "2026-03-01T12:00:00", True),
        ("* 8-18 * * 1-5", "2026-03-02T23:30:00+05:30", True),  # 18:00 UTC
        ("* 8-18 * * 1-5", "2026-03-02T05:00:00-14:00", False),  # 19:00 UTC
        ("* 9 13 * 5", "2026-03-13T09:00", True),  # Friday the 13th
        ("* 9 13 * 5", "2026-04-13T09:00", True),  # Monday the 13th
        ("* 9 13 * 5", "2026-04-17T09:00", True),  # Friday the 17th
        ("* 9 13 * 5", "2026-04-14T09:00", False),
        ("* 9 * * 5", "2026-04-13T09:00", False),
        ("* 9 13 * *", "2026-04-17T09:00", False),
        ("* 9 */2 * 1", "2026-04-13T09:00", True),  # 13 is odd
        ("* 9 */2 * 1", "2026-04-14T09:00", False),
        ("* 9 29 2 *", "2028-02-29T09:00", True),
        ("* 9 * 6-8 *", "2026-09-01T09:00", False),
        ("* 9 * 6-8 *", "2026-08-31T09:00", True),
    ],
)
def test_whether_a_range_holds(cron: str, now: str, held: bool) -> None:
    assert desired_at(preset((cron, 9)), at(now)) == (9 if held else BASE)


@pytest.mark.parametrize(
    ("zone", "cron", "now", "held"),
    [
        # Berlin, spring: 01:59:59 is followed by 03:00:00 on 2026-03-29; hour 2 never comes.
        ("Europe/Berlin", "* 1 * * *", "2026-03-29T00:59:59Z", True),
        ("Europe/Berlin", "* 2 * * *", "2026-03-29T00:59:59Z", False),
        ("Europe/Berlin", "* 2 * * *", "2026-03-29T01:00:00Z", False),
        ("Europe/Berlin", "* 3 * * *", "2026-03-29T01:00:00Z", True),
        ("Europe/Berlin", "* 8 * * *", "2026-03-28T07:00:00Z", True),
        ("Europe/Berlin", "* 8 * * *", "2026-03-29T06:00:00Z", True),
        ("Europe/Berlin", "* 8 * * *", "2026-03-29T07:00:00Z", False),
        # Berlin, autumn: hour 2 comes twice on 2026-10-25, and the range holds both times.
        ("Europe/Berlin", "* 2 * * *", "2026-10-24T23:59:59Z", False),
        ("Europe/Berlin", "* 2 * * *", "2026-10-25T00:00:00Z", True),
        ("Europe/Berlin", "* 2 * * *", "2026-10-25T01:59:59Z", True),
        ("Europe/Berlin", "* 2 * * *", "2026-10-25T02:00:00Z", False),
        # The weekday is local: Sunday evening in UTC is Monday in Berlin and Auckland.
        ("Europe/Berlin", "* 0 * * 1", "2026-03-01T23:30:00Z", True),
        ("Pacific/Auckland", "* 8 * * 1", "2026-03-01T19:00:00Z", True),
        ("America/Los_Angeles", "* 16 28 2 *", "2026-03-01T00:00:00Z", True),
        # Zones off by half and by three quarters of an hour.
        ("Asia/Kolkata", "* 9 * * *", "2026-03-02T03:29:59Z", False),
        ("Asia/Kolkata", "* 9 * * *", "2026-03-02T03:30:00Z", True),
        ("Asia/Kolkata", "* 9 * * *", "2026-03-02T04:30:00Z", False),
        ("Asia/Kathmandu", "* 9 * * *", "2026-03-02T03:15:00Z", True),
        ("Asia/Kathmandu", "* 9 * * *", "2026-03-02T03:14:59Z", False),
        # Lord Howe moves its clock by half an hour: on 2026-10-04 02:00 becomes 02:30.
        ("Australia/Lord_Howe", "* 2 * * *", "2026-10-03T15:30:00Z", True),
        ("Australia/Lord_Howe", "* 2 * * *", "2026-10-03T16:00:00Z", False),
    ],
)
def test_ranges_are_in_the_presets_zone(zone: str, cron: str, now: str, held: bool) -> None:
    assert desired_at(preset((cron, 9), timezone=zone), at(now)) == (9 if held else BASE)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "Europe", "../../etc/passwd", "Europe/Berlin\0", "x" * 5000])
def test_a_zone_that_is_none_means_base(zone: str) -> None:
    assert desired_at(preset(("* * * * *", 9), timezone=zone), at("2026-03-02T09:00")) == BASE
    assert next_change(preset(("* 9 * * *", 9), timezone=zone), at("2026-03-02T09:00")) is None


def test_one_bad_expression_means_base_for_all() -> None:
    assert desired_at(preset(("* 9 * * *", 9), ("* 12-x * * *", 4)), at("2026-03-02T09:00")) == BASE


def test_a_range_that_never_holds_spoils_nothing() -> None:
    """30 February can be parsed: `apply` refuses it, and to a decision it never holds."""
    assert desired_at(preset(("* 9 30 2 *", 4), ("* 9 * * *", 9)), at("2026-03-02T09:00")) == 9


def test_overlapping_ranges_mean_base_everywhere() -> None:
    both = preset(("* 9-12 * * *", 9), ("* 12-14 * * 2", 4))
    assert {desired_at(both, at("2026-03-02T00:00") + timedelta(hours=hour)) for hour in range(200)} == {BASE}


def test_a_base_of_zero_and_a_scheduled_zero() -> None:
    assert desired_at(preset(("* 9 * * *", 3), desired=0), at("2026-03-02T09:00")) == 3
    assert desired_at(preset(("* 9 * * *", 3), desired=0), at("2026-03-02T10:00")) == 0
    assert desired_at(preset(("* 9 * * *", 0)), at("2026-03-02T09:00")) == 0
    assert desired_at(preset(timezone="Mars/Olympus"), at("2026-03-02T09:00")) == BASE


@pytest.mark.parametrize(
    ("zone", "cron", "now", "change"),
    [
        ("UTC", "* 8-18 * * 1-5", "2026-03-02T07:30:15.5", ("2026-03-02T08:00", 9)),
        ("UTC", "* 8-18 * * 1-5", "2026-03-02T08:00:00", ("2026-03-02T19:00", BASE)),
        ("UTC", "* 8-18 * * 1-5", "2026-03-06T18:59:59", ("2026-03-06T19:00", BASE)),
        ("UTC", "* 8-18 * * 1-5", "2026-03-06T19:00:00", ("2026-03-09T08:00", 9)),
        ("UTC", "* * * * 6,0", "2026-03-07T12:00", ("2026-03-09T00:00", BASE)),
        ("UTC", "* 9 1 1 *", "2026-01-01T10:00", ("2027-01-01T09:00", 9)),
        ("UTC", "* 9 29 2 *", "2026-03-02T09:00", None),  # further than 400 days
        ("UTC", "* * * * *", "2026-03-02T09:00", None),
        ("Europe/Berlin", "* 2 * * *", "2026-03-29T00:30", ("2026-03-30T00:00", 9)),  # the missing hour is passed over
        ("Europe/Berlin", "* 2 * * *", "2026-10-25T00:30", ("2026-10-25T02:00", BASE)),  # the doubled one lasts
        ("Asia/Kathmandu", "* 9 * * *", "2026-03-02T00:00", ("2026-03-02T03:15", 9)),
        ("Asia/Kolkata", "* 9 * * *", "2026-03-02T08:59+05:30", ("2026-03-02T03:30", 9)),
    ],
)
def test_the_next_change(zone: str, cron: str, now: str, change: tuple[str, int] | None) -> None:
    expected = change and (at(change[0]), change[1])
    assert next_change(preset((cron, 9), timezone=zone), at(now)) == expected


def test_ranges_that_change_nothing_have_no_next_change() -> None:
    assert next_change(preset(), at("2026-03-02T09:00")) is None
    assert next_change(preset(("* 9 * * *", BASE)), at("2026-03-02T09:00")) is None
    adjacent = preset(("* 8-11 * * *", 4), ("* 12-15 * * *", 4))
    assert next_change(adjacent, at("2026-03-02T08:00")) == (at("2026-03-02T16:00"), BASE)


ZONES = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Havana", "Antarctica/Troll"]


@settings(max_examples=150)
@given(
    zone=st.sampled_from(ZONES),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=4),
    weekday=ranged(0, 6),
    # From shortly before to shortly after the clock changes of 2026, half the time.
    start=st.sampled_from(
        ["2026-03-08", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-11-01", "2026-06-15"]
    ),
    minute=st.integers(0, 24 * 60),
)
def test_the_next_change_is_the_first_minute_that_differs(
    zone: str, hours: set[int], weekday: str, start: str, minute: int
) -> None:
    pool = preset((f"* {','.join(map(str, hours))} * * {weekday}", 9), timezone=zone)
    now = at(start) + timedelta(minutes=minute)
    change = next_change(pool, now)
    current = desired_at(pool, now)
    for ahead in range(1, 4 * 24 * 60):
        moment = now + timedelta(minutes=ahead)
        if (desired := desired_at(pool, moment)) != current:
            assert change == (moment, desired)
            return
    assert change is None or change[0] > moment


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_what_is_remembered_is_what_is_found(zone: str) -> None:
    """Cached answers are right across a clock change and two size changes, between another pool's answers."""
    pool = preset(("* 9-10 * * *", 9), ("* 20 * * 6", 4), timezone=zone)
    other = preset(("* 9-10 * * *", 9), ("* 20 * * 6", 4), timezone=zone, desired=BASE + 1)
    moments = [at("2026-10-24T06:00") + timedelta(minutes=7 * step, seconds=step) for step in range(400)]
    fresh = []
    for moment in moments:
        search_change.cache_clear()
        fresh.append((next_change(pool, moment), next_change(other, moment)))
    for _ in range(2):
        assert [(next_change(pool, moment), next_change(other, moment)) for moment in moments] == fresh


def test_a_year_is_walked_once_in_a_quarter_of_an_hour() -> None:
    pool = preset(("* 9 1 1 *", 9))
    search_change.cache_clear()
    start = at("2026-03-02T09:15")
    assert {next_change(pool, start + timedelta(seconds=second)) for second in range(900)} == {
        (at("2027-01-01T09:00"), 9)
    }
    assert search_change.cache_info().misses == 1


def test_time_is_told_by_instants_not_by_the_zone_of_now() -> None:
    pool = preset(("* 9 * * *", 9), timezone="Europe/Berlin")
    now = at("2026-03-02T08:00:00Z")
    for zone in ZONES:
        assert desired_at(pool, now.astimezone(ZoneInfo(zone))) == 9
        change = next_change(pool, now.astimezone(ZoneInfo(zone)))
        assert change == (at("2026-03-02T09:00:00Z"), BASE)
        assert change[0].tzinfo is UTC
