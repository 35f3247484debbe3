"""Old rows are deleted in batches, except those of claimed workspaces; drained pools leave nothing behind."""

from __future__ import annotations

import pytest
from sqlalchemy import func, insert, select

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.base import Base
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RequestEndedError
from prebuild_tasks.events import number_all_events
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.retention import run
from prebuild_tasks.upkeep.retention.run import prune
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.upkeep.types import Pruned
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill, finish_builds, jump, preset_id, turn, workspaces
from tests.support.pool_files import load_text

DAY = 86400.0


def rows(database: Database, table: type[Base]) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def write_logs(database: Database) -> None:
    """Write a line of output for every build."""
    with database.write() as connection:
        now = database.now(connection)
        for build_id in connection.execute(select(m.Build.id)).scalars().all():
            connection.execute(insert(m.BuildLog).values(build_id=build_id, attempt=1, seq=1, at=now, text="made\n"))


def drop(database: Database, settings: Settings) -> None:
    """Apply a file from which every template has been removed."""
    apply(database, settings, load_text("schema: 1\ntemplates: []\n"), ApplyOptions(actor="t", prune=True, yes=True))


def test_each_kind_has_its_own_time(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    claim(database, ClaimRequest("ada", [PRESET]))
    finish_builds(database)
    [mine] = workspaces(database, m.Workspace.owner == "ada")
    end_workspace(database, mine.name, actor="ada")
    finish_builds(database)
    write_logs(database)
    fill(database, settings)
    jump(database, 7 * DAY - 10)
    assert prune(database, settings) == Pruned()
    jump(database, 20)
    assert prune(database, settings) == Pruned(logs=5)
    jump(database, 23 * DAY)
    assert prune(database, settings) == Pruned(builds=3), "the deleted one's; the others' are their latest"
    assert rows(database, m.Workspace) == 4, "its claim event still tells of it"
    jump(database, 150 * DAY)
    number_all_events(database)  # as the sweep does before it prunes: what has no number yet is kept
    assert prune(database, settings).events > 1
    assert prune(database, settings) == Pruned(workspaces=1), "nothing tells of it any more"
    assert rows(database, m.ClaimEvent) == 0
    assert len(workspaces(database)) == 3
    assert audit(database, settings) == []
    assert prune(database, settings) == Pruned(), "and nothing more"


def test_nothing_of_a_claimed_workspace_goes(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    claim(database, ClaimRequest("ada", [PRESET]))
    finish_builds(database)
    write_logs(database)
    before = [rows(database, table) for table in (m.Build, m.BuildLog, m.ClaimEvent)]
    with database.read() as connection:
        [mine] = connection.execute(select(m.Workspace.id).where(m.Workspace.owner == "ada")).scalars().all()
        told = select(func.count()).select_from(m.History).where(m.History.workspace_id == mine)
        history = connection.execute(told).scalar_one()
    jump(database, 1000 * DAY)
    prune(database, settings)
    assert [rows(database, table) for table in (m.Build, m.BuildLog, m.ClaimEvent)] == before
    with database.read() as connection:
        assert connection.execute(told).scalar_one() == history > 0


def test_failures_in_a_row_outlast_their_builds(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="no disk")
    jump(database, 2 * DAY)
    sweep(database, settings, lambda _: 0)
    finish_builds(database)
    jump(database, 40 * DAY)
    assert sweep(database, settings, lambda _: 0).pruned.builds == 4
    with database.read() as connection:
        assert connection.execute(select(m.Preset.failures_in_row)).scalar_one() == 2


def test_the_sweep_prunes_once_an_hour(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    drop(database, settings)
    assert sweep(database, settings, lambda _: 0).pruned.presets == 1
    declare(database, settings, 0)
    drop(database, settings)
    assert sweep(database, settings, lambda _: 0).pruned == Pruned()
    jump(database, 3601)
    assert sweep(database, settings, lambda _: 0).pruned.presets == 1


def test_batches_are_bounded_and_a_broken_run_is_gone_on_with(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(database, settings, 7)
    fill(database, settings)
    declare(database, settings, 0, yes=True)
    fill(database, settings)
    jump(database, 31 * DAY)
    monkeypatch.setattr(run, "BATCH", 2)
    monkeypatch.setattr(run, "BATCHES", 2)
    counts = [prune(database, settings).builds for _ in range(5)]
    assert counts == [4, 4, 4, 2, 0]
    while prune(database, settings).workspaces:
        pass
    assert rows(database, m.Workspace) == 0


def test_a_pruned_templates_rows_go_when_it_is_drained(database: Database, settings: Settings) -> None:
    declare(
        database, settings, 2, extra="parameters: {A: '1'}, timezone: UTC, schedules: [{cron: '* 3 * * *', desired: 1}]"
    )
    fill(database, settings)
    claim(database, ClaimRequest("ada", [PRESET]))
    finish_builds(database)
    identity = preset_id(database)
    drop(database, settings)
    assert prune(database, settings) == Pruned(), "it holds prebuilds"
    reconcile_preset(database, settings, identity)
    finish_builds(database)
    assert prune(database, settings) == Pruned(), "a claimed one stays, and with it what is needed to end it"
    [mine] = workspaces(database)
    end_workspace(database, mine.name, actor="ada")
    finish_builds(database)
    assert prune(database, settings) == Pruned(presets=1, recipes=2)
    tables = (m.Template, m.TemplateVersion, m.Preset, m.PresetParameter, m.PresetSchedule, m.Workspace, m.Build)
    assert [rows(database, table) for table in tables] == [0] * len(tables)
    assert rows(database, m.ClaimEvent) == 1, "the claim was one"
    assert audit(database, settings) == []
    declare(database, settings, 1)
    assert fill(database, settings) == 1, "and it can be declared again"


@pytest.mark.parametrize("principal", ["local", "portal"])
def test_a_key_is_kept_for_its_time_after_the_end_of_its_workspace(
    database: Database, settings: Settings, principal: str
) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    request = ClaimRequest("ada", [PRESET], request_id="k", principal=principal)
    claim(database, request)
    jump(database, 2 * settings.retention_events)
    prune(database, settings)
    assert claim(database, request).replayed, "it lives"  # type: ignore[union-attr]
    [mine] = workspaces(database, m.Workspace.owner == "ada")
    end_workspace(database, mine.name, actor="ada")
    drop(database, settings)
    reconcile_preset(database, settings, preset_id(database))
    finish_builds(database)
    assert prune(database, settings).presets == 1
    assert rows(database, m.Workspace) == 0
    declare(database, settings, 1)
    fill(database, settings)
    for seconds in (0, settings.retention_events - 60):
        jump(database, seconds)
        prune(database, settings)
        with pytest.raises(RequestEndedError) as ended:
            claim(database, request)
        assert ended.value.ended_at
    jump(database, 120)
    prune(database, settings)
    assert rows(database, m.BoundRequest) == 0


def test_declared_again_while_it_drains(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    identity = preset_id(database)
    drop(database, settings)
    reconcile_preset(database, settings, identity)
    finish_builds(database)
    declare(database, settings, 1)
    assert prune(database, settings) == Pruned()
    assert preset_id(database) == identity
    assert fill(database, settings) == 1


def test_superseded_versions_go_once_their_builds_are_gone(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    old = preset_id(database)
    declare(database, settings, 1, start="true # changed", yes=True)
    reconcile_preset(database, settings, old)
    fill(database, settings)
    assert prune(database, settings) == Pruned()
    jump(database, 31 * DAY)
    done = prune(database, settings)
    assert (done.presets, done.recipes) == (1, 1)
    assert (rows(database, m.TemplateVersion), rows(database, m.Preset)) == (1, 1)


def test_a_claim_on_a_preset_that_goes_meanwhile_does_not_crash(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    identity = preset_id(database)
    drop(database, settings)
    assert prune(database, settings).presets == 1
    assert reconcile_preset(database, settings, identity).outcome == "gone"
