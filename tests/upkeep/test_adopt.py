"""After a restore, a claimed resource that no row knows had no command, and the audit found it for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete, select

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError, RefusedError
from prebuild_tasks.insight.invariants import Violation, audit
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.strays.adopt import Wishes, give_back, remove_stray
from prebuild_tasks.upkeep.strays.compare import sweep_resources
from prebuild_tasks.upkeep.strays.store import list_strays
from prebuild_tasks.upkeep.types import StrayResult
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, build_all, declare_simulated, fill_really, workspaces

NO_WISH = Wishes()


def look(database: Database, settings: Settings) -> StrayResult:
    return sweep_resources(database, settings, Provisioners(settings))


def findings(database: Database, settings: Settings) -> list[Violation]:
    return audit(database, settings, Provisioners(settings))


@pytest.fixture
def lost(database: Database, settings: Settings, runner: BuildRunner) -> str:
    """The id of a workspace that ada has claimed, and that the restored database never knew."""
    declare_simulated(database, settings, 1, extra="claimed_ttl: 14d")
    fill_really(database, settings, runner)
    workspace_id = claim(database, ClaimRequest("ada", [PRESET])).answer.workspace_id
    build_all(database, runner)
    with database.write() as connection:
        connection.execute(delete(m.BuildLog))
        for table in (m.ClaimEvent, m.Build, m.History):
            connection.execute(delete(table).where(table.workspace_id == workspace_id))
        connection.execute(delete(m.Workspace).where(m.Workspace.id == workspace_id))
    fill_really(database, settings, runner)
    assert look(database, settings).claimed == 1
    assert [finding.what for finding in findings(database, settings)] == ["resource without a workspace"]
    return workspace_id


def files(settings: Settings, workspace_id: str) -> list[Path]:
    return list(settings.data_dir.glob(f"simulated/*/{workspace_id}.json"))


def test_it_goes_back_to_its_owner(database: Database, settings: Settings, runner: BuildRunner, lost: str) -> None:
    seen = give_back(database, f"simulated-{lost}", NO_WISH, actor="bob", dry_run=True)
    assert (seen.owner, str(seen.preset), seen.claimed_until is not None) == ("ada", PRESET, True)
    assert len(findings(database, settings)) == 1, "only shown"
    done = give_back(database, f"simulated-{lost}", NO_WISH, actor="bob")
    [hers] = workspaces(database, m.Workspace.owner == "ada")
    assert (hers.id, hers.name, hers.url) == (lost, done.workspace, f"simulated://{lost}")
    assert findings(database, settings) == []
    assert look(database, settings).report().unknown == 0
    assert list_strays(database) == []
    with pytest.raises(NotFoundError):
        give_back(database, lost, NO_WISH, actor="bob")
    end_workspace(database, f"ada/{done.workspace}", actor="ada")
    build_all(database, runner)
    assert files(settings, lost) == []
    assert findings(database, settings) == []


def test_what_the_pool_had_forgotten_gets_its_name_back(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    declare_simulated(database, settings, 1)
    fill_really(database, settings, runner)
    [prebuild] = workspaces(database)
    [path] = files(settings, prebuild.id)
    path.write_text(path.read_text().replace('"claimed_by": ""', '"claimed_by": "ada"'))
    assert look(database, settings).forgotten == 1
    fill_really(database, settings, runner)
    look(database, settings)
    done = give_back(database, prebuild.id, NO_WISH, actor="bob")
    assert (done.owner, f"prebuild-{done.workspace}", str(done.preset)) == ("ada", prebuild.name, PRESET)
    with database.read() as connection:
        builds = connection.execute(select(m.Build).where(m.Build.workspace_id == prebuild.id)).all()
    assert {(row.number, row.status) for row in builds} == {(1, BuildStatus.SUCCEEDED), (2, BuildStatus.SUCCEEDED)}
    assert findings(database, settings) == []


def test_it_is_removed_by_name_only(database: Database, settings: Settings, lost: str) -> None:
    assert look(database, settings).destroyed == 0
    assert remove_stray(database, f"simulated-{lost}", actor="bob") == "ada"
    with pytest.raises(RefusedError, match="being removed, as bob asked"):
        give_back(database, lost, NO_WISH, actor="ada")
    assert look(database, settings).destroyed == 1
    assert files(settings, lost) == []
    assert findings(database, settings) == []


def test_what_is_not_known_must_be_told(database: Database, settings: Settings, lost: str) -> None:
    for wishes, error in (
        (Wishes(owner="eve"), "was claimed by ada, not by eve"),
        (Wishes(preset="dev/none"), "no preset dev/none"),
        (Wishes(name="No Name"), "not a valid workspace name"),
    ):
        with pytest.raises((RefusedError, NotFoundError, InputError), match=error):
            give_back(database, lost, wishes, actor="bob")
    with database.write() as connection:
        connection.execute(m.Stray.__table__.update().values(owner=""))
    with pytest.raises(InputError, match="does not tell the owner"):
        give_back(database, lost, NO_WISH, actor="bob")
    done = give_back(database, lost, Wishes("ada", PRESET, "again"), actor="bob")
    assert (done.owner, done.workspace) == ("ada", "again")


def test_a_stray_that_nobody_claimed_has_no_owner(database: Database, settings: Settings, lost: str) -> None:
    [path] = files(settings, lost)
    path.write_text(path.read_text().replace('"claimed_by": "ada"', '"claimed_by": ""'))
    look(database, settings)
    with pytest.raises(RefusedError, match="no claim marker"):
        give_back(database, lost, NO_WISH, actor="bob")
