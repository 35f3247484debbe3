"""A miss tells a program when to ask again, and whether that can help."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill, jump, turn


def missed(database: Database) -> ClaimMissError:
    with pytest.raises(ClaimMissError) as miss:
        claim(database, ClaimRequest("ada", [PRESET]))
    return miss.value


def told(database: Database) -> tuple[str, int, bool]:
    miss = missed(database)
    return miss.reason, miss.retry_after, miss.retryable


def test_a_start_is_expected_after_the_median_of_those_before(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    with database.write() as connection:
        starts = connection.execute(select(m.Build.id, m.Build.created_at)).all()
        for row, seconds in zip(starts, (900, 100, 140), strict=True):
            completed = row.created_at + timedelta(seconds=seconds)
            connection.execute(update(m.Build).where(m.Build.id == row.id).values(completed_at=completed))
    for owner in ("b", "c", "d"):
        claim(database, ClaimRequest(owner, [PRESET]))
    turn(database, settings)
    assert told(database) == ("starting", 140, True)
    jump(database, 39)
    reason, seconds, retryable = told(database)
    assert (reason, retryable) == ("starting", True)
    assert 95 <= seconds <= 101
    jump(database, 3600)
    assert told(database) == ("starting", 1, True)


def test_without_a_measured_start_it_is_a_minute(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    assert told(database) == ("empty_pool", 60, True)
    turn(database, settings)
    assert told(database) == ("starting", 60, True)


@pytest.mark.parametrize(
    ("desired", "extra", "reason", "retryable"),
    [
        (0, "", "not_desired", False),
        (0, 'timezone: UTC, schedules: [{cron: "* 3 * * *", desired: 0}]', "not_desired", False),
        (0, 'timezone: UTC, schedules: [{cron: "* 3 * * *", desired: 4}]', "not_desired", True),
        (1, "", "empty_pool", True),
    ],
)
def test_whether_time_alone_can_help(
    database: Database, settings: Settings, desired: int, extra: str, reason: str, *, retryable: bool
) -> None:
    declare(database, settings, desired, extra=extra)
    assert told(database) == (reason, 60, retryable)


@pytest.mark.parametrize(("until", "retryable"), [({}, False), ({"seconds": 600}, True)])
def test_a_pause_ends_by_itself_or_not(
    database: Database, settings: Settings, until: dict[str, Any], *, retryable: bool
) -> None:
    declare(database, settings, 1)
    pause(database, PRESET, actor="op", reason="", **until)
    assert told(database) == ("empty_pool", 60, retryable)


def test_a_blocked_pool_needs_somebody(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=PresetStatus.HARD_LIMITED))
    assert told(database) == ("empty_pool", 60, False)
