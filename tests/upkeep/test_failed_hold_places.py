"""Failed prebuilds kept for diagnosis filled a quota, and blocked their own pool and others for a day; and a person
whose release could not be carried out could not claim."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from prebuild_tasks.access.types import EVERYTHING
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BeingBuiltError, ClaimMissError, RefusedError
from prebuild_tasks.insight.explain.store import read_holding
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus, Transition
from prebuild_tasks.pools.operations import pause, resume, unblock
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.rules import place_wanted
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill, finish_builds, jump, staffed, turn, workspaces
from tests.support.command_line import cli

__all__ = ["cli"]
QUOTA = "[{name: default, max_workspaces: 3}]"


def fail_in(database: Database, settings: Settings, desired: int, **options: Any) -> None:
    """Declare a pool whose first prebuilds all fail."""
    declare(database, settings, desired, **options)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="no disk")


def deleting(database: Database) -> int:
    return len(workspaces(database, m.Workspace.transition == Transition.DELETE))


@pytest.mark.parametrize(("quota", "expected"), [(QUOTA, 2), ("[]", 0)])
def test_they_yield_when_their_place_is_wanted(
    database: Database, settings: Settings, quota: str, expected: int
) -> None:
    fail_in(database, settings, 2, organizations=quota)
    jump(database, 600)
    assert turn(database, settings).created >= 1
    sweep(database, settings, lambda _host: 0)
    assert deleting(database) == (1 if expected else 0), "as many as are wanted"


def test_they_stay_where_nobody_wants_their_place(database: Database, settings: Settings) -> None:
    fail_in(database, settings, 2, organizations=QUOTA)
    declare(database, settings, 1, organizations=QUOTA)
    jump(database, 600)
    turn(database, settings)
    finish_builds(database)
    sweep(database, settings, lambda _host: 0)
    assert (len(workspaces(database)), deleting(database)) == (3, 0)


def test_a_pool_that_builds_nothing_wants_none(database: Database, settings: Settings) -> None:
    fail_in(database, settings, 3, organizations=QUOTA)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=PresetStatus.HARD_LIMITED))
    settings = settings.model_copy(update={"failed_keep": 3})
    sweep(database, settings, lambda _host: 0)
    assert deleting(database) == 0


@pytest.mark.parametrize("paused", [PRESET, ""])
def test_a_paused_pool_wants_none(database: Database, settings: Settings, paused: str) -> None:
    """Prebuilds kept for study were deleted for it, although it builds nothing."""
    fail_in(database, settings, 3, organizations=QUOTA)
    settings = settings.model_copy(update={"failed_keep": 3})
    pause(database, paused, actor="ada")
    sweep(database, settings, lambda _host: 0)
    assert deleting(database) == 0
    resume(database, paused, actor="ada")
    sweep(database, settings, lambda _host: 0)
    assert deleting(database) > 0


@pytest.mark.parametrize(
    ("pools", "leaving", "wanted"), [([(3, 1), (1, 4)], 0, 2), ([(3, 1)], 1, 1), ([(3, 1)], 5, 0), ([], 0, 0)]
)
def test_how_many_places_are_wanted(pools: list[tuple[int, int]], leaving: int, wanted: int) -> None:
    assert place_wanted(pools, leaving) == wanted


def test_explain_names_what_holds_a_place_and_the_command(cli: Any, database: Database, settings: Settings) -> None:
    fail_in(database, settings, 3, organizations=QUOTA)
    jump(database, 3700)
    unblock(database, PRESET, actor="x")
    staffed(database, settings)
    said = cli("explain", PRESET)
    name = min(workspaces(database), key=lambda row: (row.created_at, row.id)).name
    assert f"prebuild delete {name}" in said
    assert "failed or could not be deleted" in said


def test_a_persons_is_named_with_its_owner(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, organizations=QUOTA)
    fill(database, settings)
    claimed = claim(database, ClaimRequest("ada", [PRESET], name="one")).answer  # type: ignore[union-attr]
    end_workspace(database, claimed.workspace_id, actor="ada")
    finish_builds(database, status=BuildStatus.FAILED, error="busy")
    with database.read() as connection:
        organization = connection.execute(select(m.Organization.id)).scalar_one()
        assert read_holding(connection, organization, EVERYTHING) == ("ada/one",)


def test_one_yields_to_a_person_who_waits(database: Database, settings: Settings) -> None:
    """The person was refused for as long as failed prebuilds are kept: they yielded to pools only."""
    fail_in(database, settings, 3, organizations=QUOTA)
    declare(database, settings, 0, organizations=QUOTA)
    request = ClaimRequest("ada", [PRESET], wait=True)
    for _ in range(2):
        with pytest.raises(ClaimMissError) as miss:
            claim(database, request)
        assert not isinstance(miss.value, BeingBuiltError)
        assert deleting(database) == 1, "one at a time"
    finish_builds(database)
    assert isinstance(claim(database, request), BeingBuilt)
    assert len(workspaces(database)) == 3
    finish_builds(database)
    assert claim(database, request).answer.owner == "ada"  # type: ignore[union-attr]


def test_without_one_the_person_is_refused(database: Database, settings: Settings) -> None:
    declare(database, settings, 3, organizations=QUOTA)
    fill(database, settings)
    for number in range(3):
        claim(database, ClaimRequest("ada", [PRESET], request_id=f"r{number}"))
    with pytest.raises(RefusedError, match="has 3 workspaces, the limit is 3"):
        claim(database, ClaimRequest("bob", [PRESET], wait=True))


def test_what_is_being_deleted_is_not_in_its_owners_way(database: Database, settings: Settings) -> None:
    limits = "[{name: default, max_per_owner: 1, max_workspaces: 9}]"
    declare(database, settings, 3, organizations=limits)
    fill(database, settings)
    first = claim(database, ClaimRequest("ada", [PRESET])).answer  # type: ignore[union-attr]
    with pytest.raises(RefusedError, match="ada has 1 workspace, the limit is 1"):
        claim(database, ClaimRequest("ada", [PRESET]))
    end_workspace(database, first.workspace_id, actor="ada")
    finish_builds(database, status=BuildStatus.FAILED, error="busy")
    with database.read() as connection:
        assert (
            connection.execute(select(m.Workspace.deleted_at).where(m.Workspace.id == first.workspace_id)).scalar()
            is None
        )
    assert claim(database, ClaimRequest("ada", [PRESET])).answer.owner == "ada"  # type: ignore[union-attr]
