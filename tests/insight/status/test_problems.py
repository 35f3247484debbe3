"""Pools that need attention: blocked, paused, short for too long, or with deletions that fail."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.status.problems import read_problems
from prebuild_tasks.insight.status.rules import PoolProblem, overdue, patience
from prebuild_tasks.insight.status.views import PoolCheck
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill, finish_builds, jump, staffed, turn

TICK = timedelta(seconds=15)
LONG = 3600


def only(database: Database, settings: Settings) -> PoolCheck:
    staffed(database, settings)
    [item] = read_problems(database, settings)
    return item


def test_a_claim_counts_once_its_refill_takes_too_long(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    assert only(database, settings).problems == ()
    jump(database, LONG)
    claim(database, ClaimRequest("ada", [PRESET]))
    assert only(database, settings).problems == (), "its place has just become empty"
    jump(database, 31)
    item = only(database, settings)
    assert (item.problems, item.overdue, item.is_empty) == ((PoolProblem.SHORT,), 1, False)
    assert item.sentence == "1 short for more than 30 s"
    claim(database, ClaimRequest("bob", [PRESET]))
    item = only(database, settings)
    assert (item.overdue, item.is_empty) == (1, True), "the second place is empty since just now, the first for long"
    fill(database, settings)
    assert only(database, settings).problems == ()


def test_a_pool_may_take_as_long_as_it_usually_does(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    jump(database, 600)
    finish_builds(database)  # ready ten minutes after it was asked for
    jump(database, LONG)
    claim(database, ClaimRequest("ada", [PRESET]))
    jump(database, 500)
    assert only(database, settings).problems == ()
    jump(database, 120)
    assert only(database, settings).sentence == "empty for more than 10 min"


def test_what_it_usually_takes_is_known_after_a_quiet_week(database: Database, settings: Settings) -> None:
    """A pool that is claimed once a fortnight counted as short after five minutes of each refill."""
    declare(database, settings, 1)
    turn(database, settings)
    jump(database, 1200)
    finish_builds(database)
    jump(database, 14 * 24 * 3600)
    claim(database, ClaimRequest("ada", [PRESET]))
    jump(database, 1100)
    assert only(database, settings).problems == ()
    jump(database, 120)
    assert only(database, settings).sentence == "empty for more than 20 min"


def test_a_larger_size_gets_time_to_fill(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    jump(database, LONG)
    declare(database, settings, 3)
    assert only(database, settings).problems == ()
    jump(database, 31)
    assert only(database, settings).overdue == 2


def test_a_first_start_that_fails_is_a_problem_at_once(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    assert only(database, settings).problems == ()
    finish_builds(database, status=BuildStatus.FAILED, error="no disk")
    item = only(database, settings)
    assert (item.is_empty, item.sentence) == (True, "empty")


def test_says_what_is_tolerated(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    assert only(database, settings).tolerated == "0 of 2 eligible, within the 5 min that it gets to fill"
    fill(database, settings)
    assert only(database, settings).tolerated == ""
    jump(database, LONG)
    declare(database, settings, 2, start="exit 3", extra="replace: {strategy: rolling}")
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="no disk")
    jump(database, LONG)
    staffed(database, settings)

    def current() -> PoolCheck:
        return next(item for item in read_problems(database, settings) if not item.pool.superseded)

    assert current().tolerated == "0 of 2 eligible, 2 outdated can be claimed"
    assert claim(database, ClaimRequest("ada", [PRESET]))
    assert current().tolerated == "0 of 2 eligible, 1 outdated can be claimed, within the 30 s that it gets to fill"
    jump(database, LONG)
    item = current()
    assert (item.tolerated, item.sentence) == ("", "1 short for more than 30 s"), "one can still be claimed"


def test_blocked_paused_and_deletions(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=PresetStatus.HARD_LIMITED))
    assert only(database, settings).problems == (PoolProblem.HARD_LIMITED,)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=PresetStatus.HEALTHY))
    pause(database, PRESET, actor="ada")
    assert only(database, settings).problems == (PoolProblem.PAUSED,)
    resume(database, PRESET, actor="ada")
    fill(database, settings)
    declare(database, settings, 0, yes=True)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="device busy")
    assert only(database, settings).sentence == "1 deletion failed"


@pytest.mark.parametrize(
    ("desired", "before", "claimable", "left", "places"),
    [
        (5, 5, 3, 0, 2),
        (5, 5, 3, 2, 0),
        (5, 5, 0, 3, 2),
        (5, 3, 3, 0, 0),
        (2, 9, 0, 0, 2),
        (2, 2, 3, 0, 0),
        (5, 5, 0, 9, 0),
    ],
)
def test_places_that_were_empty_all_the_time(desired: int, before: int, claimable: int, left: int, places: int) -> None:
    assert overdue(desired=desired, desired_before=before, claimable=claimable, left=left) == places


@pytest.mark.parametrize(
    ("usual", "fails", "seconds"), [(None, False, 300), (None, True, 0), (4, False, 30), (4, True, 30), (90, False, 90)]
)
def test_how_long_a_pool_may_be_short(usual: int | None, fails: bool, seconds: int) -> None:
    time = None if usual is None else timedelta(seconds=usual)
    assert patience(time, TICK, fails=fails) == timedelta(seconds=seconds)
