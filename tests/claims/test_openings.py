"""Openings: how many claims that wait, with nothing reserved, may get something by now."""

from __future__ import annotations

import pytest
from sqlalchemy import event, select, update

from prebuild_tasks.claims.openings import OPEN, read_openings
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.release import end_workspace
from tests.support import bulk
from tests.support.builders import PRESET, declare, fill, finish_builds, preset_id, turn

WAIT = ClaimRequest("ada", [PRESET], wait=True)


def openings(database: Database, most: int = 0, *names: str) -> int:
    choice = tuple(preset_id(database, name) for name in names or (PRESET,))
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
    assert read_openings(database, [(999_999,)], max_builds_in_flight=0) == {(999_999,): OPEN}
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=PresetStatus.HARD_LIMITED))
    assert openings(database) == OPEN


def test_while_it_replaces_gradually_an_older_prebuild_is_an_opening(database: Database, settings: Settings) -> None:
    declare(database, settings, 2, extra="replace: {strategy: rolling}")
    fill(database, settings)
    declare(database, settings, 2, config="claim: 'true'", extra="replace: {strategy: rolling}")
    pause(database, "", actor="op")
    with database.read() as connection:
        first = connection.execute(select(m.TemplateVersion.name).order_by(m.TemplateVersion.id).limit(1)).scalar_one()
    assert openings(database) == 2
    assert openings(database, 0, f"{PRESET}@{first}") == OPEN, "a claim of it would be refused"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_number_of_statements_does_not_depend_on_that_of_claims(database: Database, settings: Settings) -> None:
    bulk.pools(database, 60, 3)
    with database.read() as connection:
        ids = connection.execute(select(m.Preset.id).order_by(m.Preset.id)).scalars().all()
    sent: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    numbers = []
    for choices in ([(ids[0],)], [(number,) for number in ids], [tuple(ids), tuple(reversed(ids))]):
        sent.clear()
        assert len(read_openings(database, choices, max_builds_in_flight=3)) == len(choices)
        numbers.append(len(sent))
    assert len({*numbers}) == 1, numbers
    assert numbers[0] <= 12
