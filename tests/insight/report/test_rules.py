"""Demand folded into a week, its peaks, and the recommendations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from prebuild_tasks.cli.remedies import spell_recommendation
from prebuild_tasks.insight.report.advice import UsageSummary, desired_in, recommend
from prebuild_tasks.insight.report.rules import (
    QUARTER,
    BusyHours,
    Demand,
    bucket_width,
    busy_hours,
    heat_map,
    hit_rate,
    over_time,
    peak,
    zone_of,
)
from prebuild_tasks.model.vocabulary import Preset, Schedule

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def demand(at: datetime, hits: int = 1, misses: int = 0) -> Demand:
    return Demand(int(at.timestamp()) // QUARTER, hits, misses)


@pytest.mark.parametrize(("hits", "misses", "rate"), [(0, 0, None), (0, 2, 0.0), (3, 1, 0.75), (5, 0, 1.0)])
def test_hit_rate(hits: int, misses: int, rate: float | None) -> None:
    assert hit_rate(hits, misses) == rate


@pytest.mark.parametrize(
    ("zone", "at", "day", "hour"),
    [
        ("", MONDAY + 9 * HOUR, 0, 9),
        ("Europe/Berlin", MONDAY + 9 * HOUR, 0, 10),
        ("Europe/Berlin", datetime(2026, 7, 6, 9, tzinfo=UTC), 0, 11),
        ("Europe/Berlin", MONDAY + 23.5 * HOUR, 1, 0),
        ("Asia/Kathmandu", MONDAY + 9.25 * HOUR, 0, 15),
        ("Asia/Kathmandu", MONDAY + 9 * HOUR, 0, 14),
        ("America/Los_Angeles", MONDAY + 2 * HOUR, 6, 18),
        ("No/Where", MONDAY + 9 * HOUR, 0, 9),
    ],
)
def test_requests_fall_into_the_local_hour(zone: str, at: datetime, day: int, hour: int) -> None:
    found = heat_map([(demand(at, 2, 1), zone_of(zone))])
    assert found.claims[day][hour] == sum(map(sum, found.claims)) == 3
    assert found.misses[day][hour] == sum(map(sum, found.misses)) == 1


@pytest.mark.parametrize(
    ("span", "width"),
    [
        (HOUR, 900), (15 * HOUR, 900), (16 * HOUR, 3600), (timedelta(days=7), 3 * 3600), (timedelta(days=8), 6 * 3600),
        (timedelta(days=30), 86_400), (timedelta(days=180), 7 * 86_400), (timedelta(days=4000), 7 * 86_400),
    ],
)  # fmt: skip
def test_a_curve_has_sixty_points_at_most(span: timedelta, width: int) -> None:
    assert bucket_width(MONDAY, MONDAY + span) == width


def test_a_curve_adds_up_what_falls_into_one_span() -> None:
    items = [demand(MONDAY + 3 * HOUR), demand(MONDAY + 3.25 * HOUR, 0, 2), demand(MONDAY + 5 * HOUR, 4)]
    assert over_time(items, 3600) == [(MONDAY + 3 * HOUR, 1, 2), (MONDAY + 5 * HOUR, 4, 0)]
    assert over_time([], 3600) == []


@pytest.mark.parametrize(("seconds", "most"), [(0, 4), (60, 4), (900, 4), (901, 6), (3600, 8), (7200, 8), (99_999, 9)])
def test_the_most_that_came_within_a_time(seconds: float, most: int) -> None:
    items = [demand(MONDAY + hours * HOUR, count) for hours, count in ((0, 2), (0.25, 1), (0.5, 1), (0.75, 1), (3, 1))]
    items.append(demand(MONDAY + 0.25 * HOUR, 1, 2))  # another version's row of the same quarter
    assert peak(items, seconds) == most
    assert peak([], seconds) == 0


def cells(*spots: tuple[int, int, int]) -> tuple[tuple[int, ...], ...]:
    rows = [[0] * 24 for _ in range(7)]
    for day, hour, count in spots:
        rows[day][hour] = count
    return tuple(map(tuple, rows))


@pytest.mark.parametrize(
    ("spots", "cron", "words", "misses"),
    [
        ([(0, 9, 4)], "* 9 * * 1", "Mon 09:00-09:59", 4),
        ([(d, h, 2) for d in range(5) for h in (9, 10)], "* 9-10 * * 1-5", "Mon-Fri 09:00-10:59", 20),
        ([(6, 22, 3), (5, 23, 3)], "* 22-23 * * 0,6", "Sat, Sun 22:00-23:59", 6),
        ([(d, 0, 1) for d in range(7)], "* 0 * * *", "Mon-Sun 00:00-00:59", 7),
        ([(0, 9, 8), (3, 20, 1)], "* 9 * * 1", "Mon 09:00-09:59", 8),
        ([(0, 9, 1), (2, 9, 1), (4, 9, 2)], "* 9 * * 1,3,5", "Mon, Wed, Fri 09:00-09:59", 4),
    ],
)
def test_busy_hours_can_be_said_as_a_schedule(
    spots: list[tuple[int, int, int]], cron: str, words: str, misses: int
) -> None:
    found = busy_hours(cells(*spots))
    assert found is not None
    assert (found.cron, found.label, found.misses) == (cron, words, misses)
    assert busy_hours(cells()) is None


@pytest.mark.parametrize(
    ("busy", "size"),
    [
        (BusyHours(9, 10, (0, 1), 1), 10),
        (BusyHours(7, 10, (0, 1), 1), 2),
        (BusyHours(9, 10, (5,), 1), 2),
        (BusyHours(18, 18, (4,), 1), 10),
    ],
)
def test_what_is_desired_in_those_hours(busy: BusyHours, size: int) -> None:
    preset = Preset("p", 2, timezone="Europe/Berlin", schedules=(Schedule("* 8-18 * * 1-5", 10),))
    for hours in (0, 9, 100):
        assert desired_in(preset, busy, MONDAY + hours * HOUR) == size


MORNING = BusyHours(9, 10, (0, 1, 2, 3, 4), 9)
QUIET: dict[str, Any] = {
    "hits": 0, "misses": 0, "peak": 0, "refill": 60.0, "built": 10, "failed": 0, "wasted": {}, "idle_hours": 0.0,
    "busy": None, "desired_then": 3, "scheduled": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        ({}, []),
        ({"hits": 30, "peak": 3}, []),
        (
            {"hits": 30, "peak": 1},
            ["at most 1 came within 15 minutes, the time until a new one is ready: desired 3 could"],
        ),
        ({"hits": 30, "peak": 1, "scheduled": True}, []),
        ({"hits": 5, "peak": 1}, []),
        ({"idle_hours": 40.2}, ["no prebuild was claimed in 40 idle hours: desired could be smaller"]),
        (
            {"hits": 30, "misses": 12, "peak": 7, "busy": MORNING, "refill": 1000.0},
            ["9 of 12 misses came Mon-Fri 09:00-10:59: desired is 3 then, and up to 7 were requested within 30 min"],
        ),
        ({"hits": 30, "misses": 12, "peak": 7, "busy": MORNING}, ['try {cron: "* 9-10 * * 1-5", desired: 7}']),
        ({"hits": 3, "misses": 12, "peak": 2, "busy": MORNING}, ["although desired is 3 then and at most 2 were"]),
        ({"hits": 3, "misses": 12, "peak": 1, "busy": MORNING}, ["although desired is 3 then and at most 1 was"]),
        (
            {"hits": 3, "misses": 12, "peak": 1, "busy": MORNING, "desired_then": 0},
            ["desired is 0 then, and up to 1 was requested within"],
        ),
        ({"hits": 3, "peak": 3, "wasted": {"expired": 9}}, ["9 prebuilds expired unclaimed and 3 were claimed"]),
        ({"hits": 9, "peak": 3, "wasted": {"expired": 9, "unhealthy": 30}}, []),
        ({"hits": 30, "misses": 12, "peak": 7, "busy": MORNING, "scheduled": True}, ["try desired 7 for those hours"]),
        ({"hits": 30, "misses": 4, "peak": 2, "busy": MORNING}, []),
        ({"hits": 30, "misses": 4, "peak": 7, "busy": MORNING}, []),
        ({"failed": 3, "built": 10}, ["23% of its builds failed; see: prebuild builds --status failed"]),
        ({"failed": 2, "built": 1}, []),
    ],
)  # fmt: skip
def test_recommendations_follow_from_the_figures(usage: dict[str, Any], words: list[str]) -> None:
    said = [spell_recommendation(item) for item in recommend(UsageSummary(**{**QUIET, **usage}))]
    assert len(said) == len(words)
    assert all(part in sentence for part, sentence in zip(words, said, strict=True)), said


def test_the_zone_is_the_presets() -> None:
    assert zone_of("Europe/Berlin") == ZoneInfo("Europe/Berlin")
    assert zone_of("") is UTC
