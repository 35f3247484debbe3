"""Openings: how many claims that wait, with nothing reserved, may get something by now."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from prebuild_tasks.access.types import Reach
from prebuild_tasks.claims.openings import OPEN, Choice, read_openings
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, finish_builds, turn

WAIT = ClaimRequest("ada", [PRESET], wait=True)


def openings(database: Database, most: int = 0, **changes: Any) -> int:
    choice = Choice.of(ClaimRequest("ada", **{"presets": [PRESET], **changes}))
    return read_openings(database, [choice], max_builds_in_flight=most)[choice]


def test_what_is_ready_or_on_its_way(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    pause(database, "", actor="op")
    assert openings(database) == 0
    resume(database, "", actor="op")
    turn(database, settings)
    pause(database, PRESET, actor="op")
    assert openings(database) == 2, "starts that are on their way"
    finish_builds(database)
    assert openings(database) == 2, "prebuilds that are ready"
    assert openings(database, presets=[], template="dev") == 2
    claim(database, WAIT)
    assert openings(database) == 1
    resume(database, PRESET, actor="op")
    assert openings(database) > OPEN, "nothing limits what may be begun"


@pytest.mark.parametrize(("extra", "most"), [("max_builds_in_flight: 2", 0), ("", 2)])
def test_room_below_a_limit(database: Database, settings: Settings, extra: str, most: int) -> None:
    declare(database, settings, 0, extra=extra)
    left = []
    for number in range(2):
        left.append(openings(database, most))
        claim(database, ClaimRequest(f"o{number}", [PRESET], wait=True), max_builds_in_flight=most)
    with pytest.raises(ClaimMissError):
        claim(database, WAIT, max_builds_in_flight=most)
    assert [*left, openings(database, most)] == [2, 1, 0]
    finish_builds(database, limit=1)
    assert openings(database, most) == 1
    assert isinstance(claim(database, WAIT, max_builds_in_flight=most), BeingBuilt)


def test_room_in_a_quota(database: Database, settings: Settings) -> None:
    declare(database, settings, 0, organizations="[{name: default, max_workspaces: 1}]")
    begun = claim(database, WAIT)
    assert isinstance(begun, BeingBuilt)
    finish_builds(database)
    assert openings(database) == 0
    end_workspace(database, begun.reserved.workspace_id, actor="ada")
    assert openings(database) == 0, "it is still there"
    finish_builds(database)
    assert openings(database) == 1


def test_a_claim_that_would_be_refused_need_not_wait(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    pause(database, PRESET, actor="op")
    assert openings(database) == 0
    for changes in (
        {"presets": ["dev/none"]},
        {"presets": [], "template": "none"},
        {"reach": Reach(presets=("dev/other",))},
    ):
        assert openings(database, **changes) == OPEN
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=PresetStatus.HARD_LIMITED))
    assert openings(database) == OPEN


def test_claims_of_one_choice_wait_together(database: Database, settings: Settings) -> None:
    first, second = (
        Choice.of(ClaimRequest(owner, [PRESET], name=owner, reach=Reach(owner=owner))) for owner in ("ada", "bob")
    )
    assert first == second
    assert Choice.of(ClaimRequest("ada", [PRESET], reach=Reach(presets=(PRESET,)))) != first
