"""The people who wait for a workspace, on both databases."""

from __future__ import annotations

import pytest

from prebuild_tasks.access import EVERYTHING, Reach
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.status.pages import CreatedKey
from prebuild_tasks.insight.status.wait_line import list_waiting
from tests.support.builders import declare, fill, finish_builds, jump, workspaces


@pytest.fixture(autouse=True)
def waiting(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    for owner in ("ada", "bob", "cyd"):
        claim(database, ClaimRequest(owner=owner, presets=["dev/small"], wait=True))


def test_places_in_the_queue_until_the_build_begins(database: Database) -> None:
    lines = list_waiting(database, EVERYTHING, None, 10)
    assert [(line.owner, line.place, str(line.preset)) for line in lines] == [
        ("ada", 1, "dev/small"),
        ("bob", 2, "dev/small"),
        ("cyd", 3, "dev/small"),
    ]
    assert [(line.expected_at, line.is_late) for line in lines] == [(None, False)] * 3
    finish_builds(database, limit=1)
    assert [(line.owner, line.place) for line in list_waiting(database, EVERYTHING, None, 10)] == [
        ("bob", 1),
        ("cyd", 2),
    ]


def test_the_expected_time_is_that_of_the_starts_of_the_pool(database: Database, settings: Settings) -> None:
    jump(database, 60)
    finish_builds(database)  # three starts that took a minute
    claim(database, ClaimRequest(owner="dan", presets=["dev/small"], wait=True))
    [line] = list_waiting(database, EVERYTHING, None, 10)
    assert line.expected_at
    assert line.late_after
    assert (line.expected_at - line.since).total_seconds() == pytest.approx(60, abs=5)
    assert (line.late_after - line.since).total_seconds() == pytest.approx(60, abs=5)
    assert not line.is_late
    jump(database, 90)
    [line] = list_waiting(database, EVERYTHING, None, 10)
    assert line.is_late
    assert fill(database, settings) == 0


def test_pages_and_reach(database: Database) -> None:
    first, second = list_waiting(database, EVERYTHING, None, 2)
    [third] = list_waiting(database, EVERYTHING, CreatedKey(second.created_at, second.id), 2)
    assert [first.owner, second.owner, third.owner] == ["ada", "bob", "cyd"]
    assert [line.owner for line in list_waiting(database, Reach(owner="bob"), None, 10)] == ["bob"]
    assert list_waiting(database, Reach(presets=("dev/large",)), None, 10) == []
    assert len(list_waiting(database, Reach(presets=("dev/small",)), None, 10)) == 3
    assert len(workspaces(database)) == 3
