"""After a restore, a claimed resource that no row knows had no command, and the audit found it for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError, ProvisionerError, RefusedError
from prebuild_tasks.insight.invariants import Violation, audit
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.provisioners import BuildContext, Provisioners, Resource, WorkspaceSpec
from prebuild_tasks.provisioners.simulated import SimulatedProvisioner
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.rules import StrayState
from prebuild_tasks.upkeep.strays import store
from prebuild_tasks.upkeep.strays.adopt import Wishes, give_back
from prebuild_tasks.upkeep.strays.compare import sweep_resources
from prebuild_tasks.upkeep.strays.removal import remove_stray
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
    with pytest.raises(RefusedError, match="was claimed by ada, not by eve"):
        remove_stray(database, lost, owner="eve", actor="bob")
    assert remove_stray(database, f"simulated-{lost}", actor="bob") == "ada"
    assert [row.state for row in list_strays(database)] == [StrayState.CONFIRMED]
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


def refuse_all_but(monkeypatch: pytest.MonkeyPatch, owner: str, then: Callable[[], object] = bool) -> None:
    """Make the provisioner list no owner, as every script of release 0.1, and delete only in this owner's name."""
    listed, delete_it = SimulatedProvisioner.list, SimulatedProvisioner.delete

    def without_owner(self: SimulatedProvisioner, *arguments: object) -> list[Resource]:
        return [replace(item, owner="") for item in listed(self, *arguments)]  # type: ignore[arg-type]

    def refuse(self: SimulatedProvisioner, spec: WorkspaceSpec, context: BuildContext) -> None:
        then()
        if spec.owner != owner:
            raise ProvisionerError(f"it was claimed by {owner}")
        delete_it(self, spec, context)

    monkeypatch.setattr(SimulatedProvisioner, "list", without_owner)
    monkeypatch.setattr(SimulatedProvisioner, "delete", refuse)


def test_a_removal_that_fails_says_why_and_can_be_made_in_the_owners_name(
    database: Database, settings: Settings, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It failed at every sweep without a word, because a script compared the owner with whoever had asked for it."""
    refuse_all_but(monkeypatch, "ada")
    look(database, settings)
    assert remove_stray(database, lost, actor="bob") == ""
    for _ in range(3):
        assert look(database, settings).destroyed == 0
    [stray] = list_strays(database)
    assert (stray.state, stray.problem) == (StrayState.CONFIRMED, "it was claimed by ada")
    [finding] = findings(database, settings)
    assert finding.problem == "it was claimed by ada"
    with database.read() as connection:
        failures = connection.execute(select(m.History).where(m.History.event == "stray_not_removed")).all()
    assert [row.workspace_id for row in failures] == [lost], "once, however often it is tried"
    assert remove_stray(database, lost, owner="ada", actor="bob") == "ada"
    assert look(database, settings).destroyed == 1
    assert (files(settings, lost), list_strays(database), findings(database, settings)) == ([], [], [])


def test_what_could_not_be_removed_can_be_adopted(
    database: Database, settings: Settings, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was refused for ever, because somebody had asked for the removal."""
    meanwhile: list[str] = []

    def adopt_meanwhile() -> None:
        with pytest.raises(RefusedError, match="is being removed, as bob asked"):
            give_back(database, lost, Wishes("ada", PRESET), actor="ada")
        meanwhile.append("refused")

    refuse_all_but(monkeypatch, "ada", adopt_meanwhile)
    look(database, settings)
    remove_stray(database, lost, actor="bob")
    look(database, settings)
    assert meanwhile == ["refused"]
    give_back(database, lost, Wishes("ada", PRESET), actor="ada")
    assert look(database, settings).report().unknown == 0
    assert findings(database, settings) == []
    assert len(files(settings, lost)) == 1


def test_a_bug_in_a_provisioner_ends_only_that_removal(
    database: Database, settings: Settings, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("pod")

    monkeypatch.setattr(SimulatedProvisioner, "delete", fail)
    remove_stray(database, lost, actor="bob")
    assert look(database, settings).destroyed == 0
    assert [row.problem for row in list_strays(database)] == ["KeyError: 'pod'"]
    assert give_back(database, lost, NO_WISH, actor="ada").owner == "ada"


def test_a_removal_that_was_taken_back_does_not_begin(
    database: Database, settings: Settings, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep had read what it was to remove, and deleted it although it had no longer to be."""
    remove_stray(database, lost, actor="bob")
    due = store.due

    def taken_back(*arguments: object, confirmed_only: bool) -> list[str]:
        found = due(*arguments, confirmed_only=confirmed_only)  # type: ignore[arg-type]
        arguments[0].execute(update(m.Stray).values(removed_by=""))  # type: ignore[attr-defined]
        return found

    monkeypatch.setattr(store, "due", taken_back)
    assert look(database, settings).destroyed == 0
    assert len(files(settings, lost)) == 1
