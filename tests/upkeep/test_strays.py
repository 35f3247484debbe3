"""Stray resources are removed after a while, but never many at once, never claimed ones, never foreign ones."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.rules import too_many
from prebuild_tasks.upkeep.strays.compare import sweep_resources
from prebuild_tasks.upkeep.strays.store import confirm, list_strays
from prebuild_tasks.upkeep.strays.to_confirm import waiting
from prebuild_tasks.upkeep.types import StrayReport, StrayResult
from tests.support.builders import PRESET, build_all, declare_simulated, fill_really, jump, workspaces
from tests.support.pool_files import load_text

GRACE = 601.0


def look(database: Database, settings: Settings) -> StrayResult:
    return sweep_resources(database, settings, Provisioners(settings))


def installation(database: Database) -> str:
    with database.read() as connection:
        return connection.execute(select(m.Installation.id)).scalar_one()


def make(database: Database, settings: Settings, count: int = 1, *, owner: str = "", of: str = "") -> list[Path]:
    """Make resources without a row, as a lost database or a late attempt leaves them."""
    directory = settings.data_dir / "simulated" / (of or installation(database))
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for _ in range(count):
        path = directory / f"{uuid.uuid4()}.json"
        state = {"installation": directory.name, "attempt": 1, "started_at": 1.0, "claimed_by": owner}
        path.write_text(json.dumps(state))
        paths.append(path)
    return paths


@pytest.mark.parametrize(
    ("unknown", "resources", "held"), [(3, 3, False), (4, 4, True), (4, 80, False), (5, 100, False), (6, 100, True)]
)
def test_how_many_are_too_many(unknown: int, resources: int, held: bool) -> None:
    assert too_many(unknown, resources) == held


def test_a_stray_goes_after_its_grace(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare_simulated(database, settings, 2)
    fill_really(database, settings, runner)
    [path] = make(database, settings)
    assert look(database, settings).report() == StrayReport(resources=3, unknown=1)
    assert [row.state for row in list_strays(database)] == ["grace"]
    assert look(database, settings).destroyed == 0
    jump(database, GRACE)
    assert look(database, settings).destroyed == 1
    assert not path.exists()
    assert list_strays(database) == []
    assert len(workspaces(database)) == 2
    assert audit(database, settings, Provisioners(settings)) == []


def test_only_the_listing_of_its_host_forgets_a_stray(database: Database, settings: Settings) -> None:
    declare_simulated(database, settings, 0)
    [path] = make(database, settings)
    with database.write() as connection:
        values = {"provisioner": "simulated", "host": "elsewhere", "workspace_id": path.stem, "resource_id": "other"}
        values |= {"first_seen_at": database.now(connection), "claimed": False, "waiting": False}
        connection.execute(insert(m.Stray).values(values))
    look(database, settings)
    jump(database, GRACE)
    assert look(database, settings).destroyed == 1
    with database.read() as connection:
        assert connection.execute(select(m.Stray.host)).scalars().all() == ["elsewhere"]


def test_what_is_known_again_is_left_alone(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare_simulated(database, settings, 1)
    fill_really(database, settings, runner)
    with database.write() as connection:
        now = database.now(connection)
        connection.execute(update(m.Workspace).values(deleted_at=now, slot=None))
    assert look(database, settings).unknown == 1
    with database.write() as connection:
        connection.execute(update(m.Workspace).values(deleted_at=None, slot=0))
    jump(database, GRACE)
    assert look(database, settings).report() == StrayReport(resources=1)
    assert list_strays(database) == []


def test_an_empty_database_against_a_full_engine_destroys_nothing(database: Database, settings: Settings) -> None:
    declare_simulated(database, settings, 0)
    paths = make(database, settings, 10)
    for _ in range(3):
        jump(database, GRACE)
        result = look(database, settings)
        assert (result.destroyed, result.waiting) == (0, 10)
    assert all(path.exists() for path in paths)
    assert waiting(database) == 10
    assert confirm(database, actor="ada") == 10
    assert confirm(database, actor="ada") == 0
    assert {row.state for row in list_strays(database)} == {"confirmed"}
    assert look(database, settings).destroyed == 10
    assert waiting(database) == 0


def test_what_comes_after_the_confirmation_is_not_confirmed(database: Database, settings: Settings) -> None:
    declare_simulated(database, settings, 0)
    make(database, settings, 10)
    look(database, settings)
    confirm(database, actor="ada")
    later = make(database, settings, 5)
    assert look(database, settings).destroyed == 10
    assert all(path.exists() for path in later)


def test_claimed_ones_are_only_reported(database: Database, settings: Settings) -> None:
    declare_simulated(database, settings, 0)
    paths = make(database, settings, 5, owner="ada")
    look(database, settings)
    confirm(database, actor="bob")
    jump(database, 100 * GRACE)
    result = look(database, settings)
    assert (result.claimed, result.destroyed, result.waiting) == (5, 0, 0)
    assert all(path.exists() for path in paths)
    assert {row.state for row in list_strays(database)} == {"claimed"}


def test_foreign_installations_are_not_touched(database: Database, settings: Settings) -> None:
    declare_simulated(database, settings, 0)
    [path] = make(database, settings, of=str(uuid.uuid4()))
    look(database, settings)
    jump(database, GRACE)
    assert look(database, settings).report() == StrayReport()
    assert path.exists()


def test_an_older_database_that_was_put_back_gives_no_claimed_one_away(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    declare_simulated(database, settings, 2)
    fill_really(database, settings, runner)
    claim(database, ClaimRequest("ada", [PRESET]))
    build_all(database, runner)
    [hers] = workspaces(database, m.Workspace.owner == "ada")
    with database.write() as connection:
        # As it was before the claim.
        connection.execute(m.ClaimEvent.__table__.delete())
        held = connection.execute(select(m.Workspace.slot).where(m.Workspace.slot.is_not(None))).scalar_one()
        values = {"owner": "prebuilds", "claimed_at": None, "claimed_until": None, "name": "prebuild-back"}
        values["slot"] = 1 - held
        connection.execute(update(m.Workspace).where(m.Workspace.id == hers.id).values(values))
    result = look(database, settings)
    assert (result.forgotten, result.destroyed) == (1, 0)
    assert len(result.follow_up.wake) == 1
    assert fill_really(database, settings, runner) == 2
    jump(database, 10 * GRACE)
    assert look(database, settings).report().claimed == 1
    [path] = settings.data_dir.glob(f"simulated/*/{hers.id}.json")
    assert json.loads(path.read_text())["claimed_by"] == "ada"


def test_a_provisioner_that_can_not_be_asked_is_left_out(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_simulated(database, settings, 0)
    make(database, settings)
    look(database, settings)
    jump(database, GRACE)
    from prebuild_tasks.provisioners.simulated import SimulatedProvisioner

    def refuse(*_: object) -> None:
        raise RuntimeError("no engine")

    monkeypatch.setattr(SimulatedProvisioner, "list", refuse)
    result = look(database, settings)
    assert (result.problems, result.destroyed) == (("simulated: no engine",), 0)
    assert len(list_strays(database)) == 1, "what was known of it stays"


def test_a_stray_is_ended_by_the_recipe_that_listed_it(database: Database, settings: Settings, tmp_path: Path) -> None:
    """With two templates on the command provisioner, the other one's `delete` would succeed and remove nothing."""
    workspace_id = str(uuid.uuid4())
    templates = []
    for name in ("mine", "other"):
        place = tmp_path / name
        place.mkdir()
        listed = f'[ -e {place}/there ] && echo \'[{{"workspace_id": "{workspace_id}"}}]\' || true'
        config = {"start": "true", "delete": f"rm -f {place}/there", "list": listed, "claim": "true"}
        preset = [{"name": "small", "desired": 0}]
        templates.append({"name": name, "provisioner": "command", "config": config, "presets": preset})
    declared = json.dumps({"schema": 1, "templates": templates})
    apply(database, settings, load_text(declared), ApplyOptions(actor="t"))
    (tmp_path / "mine" / "there").touch()
    assert look(database, settings).unknown == 1
    jump(database, GRACE)
    assert look(database, settings).destroyed == 1
    assert not (tmp_path / "mine" / "there").exists()


def test_a_row_without_a_resource_is_replaced(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare_simulated(database, settings, 2)
    fill_really(database, settings, runner)
    gone, kept = workspaces(database)
    [path] = settings.data_dir.glob(f"simulated/*/{gone.id}.json")
    path.unlink()
    result = look(database, settings)
    assert (result.missing, result.vanished) == (1, 0), "its list may lag behind"
    jump(database, GRACE)
    result = look(database, settings)
    assert (result.vanished, len(result.follow_up.builds), len(result.follow_up.wake)) == (1, 1, 1)
    assert fill_really(database, settings, runner) == 2
    assert kept.id in {row.id for row in workspaces(database)}
    assert audit(database, settings, Provisioners(settings)) == []


def test_a_claimed_row_without_a_resource_is_left_alone(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    declare_simulated(database, settings, 1)
    fill_really(database, settings, runner)
    claim(database, ClaimRequest("ada", [PRESET]))
    build_all(database, runner)
    [hers] = workspaces(database, m.Workspace.owner == "ada")
    [path] = settings.data_dir.glob(f"simulated/*/{hers.id}.json")
    path.unlink()
    jump(database, GRACE)
    assert look(database, settings).vanished == 0
    assert [row.id for row in workspaces(database, m.Workspace.owner == "ada")] == [hers.id]


def test_what_its_recipe_does_not_list_has_not_vanished(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    templates = [
        {
            "name": "dev",
            "provisioner": "command",
            "config": {"start": "true", "delete": "true"},
            "presets": [{"name": "small", "desired": 1}],
        }
    ]
    declared = json.dumps({"schema": 1, "templates": templates})
    apply(database, settings, load_text(declared), ApplyOptions(actor="t"))
    assert fill_really(database, settings, runner) == 1
    jump(database, GRACE)
    assert look(database, settings).report() == StrayReport()
