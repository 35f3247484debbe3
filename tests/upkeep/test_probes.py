"""Unhealthy prebuilds, on the simulated provisioner, are found, replaced and reported; healthy ones are not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.fleet.presence import Presence
from prebuild_tasks.insight.explain.gather import explain_preset
from prebuild_tasks.insight.history import read_history
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import Transition
from prebuild_tasks.provisioners import Probe, Provisioners, WorkspaceSpec
from prebuild_tasks.provisioners.simulated import SimulatedProvisioner
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep import probes
from prebuild_tasks.upkeep.probes import due_hosts, probe_prebuilds
from prebuild_tasks.upkeep.types import HealthResult
from tests.support.builders import (
    PRESET,
    build_all,
    declare,
    declare_simulated,
    fill_really,
    finish_builds,
    jump,
    turn,
    workspaces,
)

INTERVAL = 61.0


def probe(database: Database, settings: Settings, host: str = "") -> HealthResult:
    return probe_prebuilds(database, settings, Provisioners(settings), host)


def remove_behind_its_back(settings: Settings, workspace_id: str) -> None:
    for path in settings.data_dir.glob(f"simulated/*/{workspace_id}.json"):
        path.unlink()


def test_what_is_gone_is_replaced_when_it_still_is_after_an_interval(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    declare_simulated(database, settings, 2)
    fill_really(database, settings, runner)
    [gone, kept] = workspaces(database)
    remove_behind_its_back(settings, gone.id)
    assert probe(database, settings).report().probed == 0, "not due yet"
    jump(database, INTERVAL)
    assert due_hosts(database, settings) == [""]
    result = probe(database, settings)
    assert (result.probed, result.failing, result.replaced) == (2, 1, 0), "a suspicion"
    told = explain_preset(database, settings, None, PRESET).explanation.chain
    assert any(link.sentence.startswith("1 prebuild found gone by a probe") for link in told)
    jump(database, INTERVAL)
    result = probe(database, settings)
    assert (result.probed, result.failing, result.replaced) == (2, 1, 1)
    assert len(result.follow_up.wake) == 1
    assert turn(database, settings).created == 1, "at once: no backoff for the first"
    build_all(database, runner)
    assert len(workspaces(database)) == 2
    assert kept.id in {row.id for row in workspaces(database)}
    events = [(row.event, row.reason) for row in read_history(database, gone.id)]
    assert ("unhealthy", "the simulated workspace is gone") in events
    assert audit(database, settings, Provisioners(settings)) == []
    assert due_hosts(database, settings) == []


def test_what_fails_its_probe_has_three_chances(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare_simulated(database, settings, 1, config="{sick_after: 30}")
    fill_really(database, settings, runner)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedProvisioner, "probe", lambda *_: Probe(ready=False, message="ill"))
        for passed, replaced in ((INTERVAL, 0), (INTERVAL / 4, 0), (INTERVAL / 4, 1)):
            jump(database, passed)
            assert probe(database, settings).replaced == replaced
    assert [row.transition for row in workspaces(database)] == [Transition.DELETE]


def test_one_good_probe_forgives(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare_simulated(database, settings, 1)
    fill_really(database, settings, runner)
    verdicts = [False, False, True, False, False, True]
    for ready in verdicts:
        jump(database, INTERVAL)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SimulatedProvisioner, "probe", lambda *_, ready=ready: Probe(ready=ready, message="?"))
            assert probe(database, settings).replaced == 0


def test_a_provisioner_that_cannot_be_asked_is_not_a_verdict(
    database: Database, settings: Settings, runner: BuildRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_simulated(database, settings, 3)
    fill_really(database, settings, runner)

    def refuse(*_: object) -> Probe:
        raise ProvisionerError("the engine does not answer")

    monkeypatch.setattr(SimulatedProvisioner, "probe", refuse)
    for _ in range(5):
        jump(database, INTERVAL)
        result = probe(database, settings)
        assert (result.unknown, result.replaced) == (3, 0)


def test_a_flapping_pool_backs_off(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare_simulated(database, settings, 2)
    fill_really(database, settings, runner)
    created = []
    for _ in range(6):
        for row in workspaces(database, m.Workspace.transition == Transition.START):
            remove_behind_its_back(settings, row.id)
        for _look in range(2):
            jump(database, INTERVAL)
            probe(database, settings)
        result = turn(database, settings)
        created.append((result.created, result.reason))
        build_all(database, runner)
    assert created[:2] == [(1, None), (1, None)], "one pool's worth is replaced without a wait, one after the other"
    assert ("backoff") in [reason for _, reason in created]
    with database.read() as connection:
        preset = connection.execute(select(m.Preset)).one()
    assert (preset.failures_in_row, preset.status) == (0, "healthy"), "but it is not blocked for it"
    jump(database, settings.backoff_lookback + 10)
    assert fill_really(database, settings, runner) == 2


def test_claimed_ones_are_nobodys_to_judge(
    database: Database, settings: Settings, runner: BuildRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_simulated(database, settings, 1)
    fill_really(database, settings, runner)
    jump(database, INTERVAL)

    def claimed_meanwhile(_self: object, _spec: WorkspaceSpec) -> Probe:
        claim(database, ClaimRequest("ada", [PRESET]))
        return Probe(ready=False, message="gone", gone=True)

    monkeypatch.setattr(SimulatedProvisioner, "probe", claimed_meanwhile)
    assert probe(database, settings).replaced == 0
    assert [row.owner for row in workspaces(database)] == ["ada"]
    jump(database, INTERVAL)
    assert probe(database, settings).probed == 0


def test_each_host_probes_its_own(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    turn(database, settings)
    finish_builds(database)
    with database.write() as connection:
        for number, row in enumerate(workspaces(database)):
            connection.execute(
                m.Workspace.__table__.update().where(m.Workspace.id == row.id).values(host=f"host{number}")
            )
    jump(database, INTERVAL)
    assert due_hosts(database, settings) == [], "nobody is there"
    for host in ("host0", "host1"):
        Presence(database, settings.model_copy(update={"host": host}), "builds").announce()
    assert due_hosts(database, settings) == ["host0", "host1"]
    assert probe(database, settings, "host0").probed == 1


def test_prebuilds_are_taken_in_the_order_in_which_they_are_due(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    """Workers of release 0.1.0 lock them in this order; in another one each would wait for the other's."""
    declare_simulated(database, settings, 3)
    fill_really(database, settings, runner)
    last_id_first = sorted((row.id for row in workspaces(database)), reverse=True)
    with database.write() as connection:
        now = database.now(connection)
        for number, workspace_id in enumerate(last_id_first):
            ready_at = now - timedelta(seconds=INTERVAL * (3 - number))
            connection.execute(update(m.Workspace).where(m.Workspace.id == workspace_id).values(ready_at=ready_at))
        assert [item.workspace_id for item in probes.take_due(connection, settings, "", now)] == last_id_first


def test_a_prebuild_is_probed_by_one_at_a_time(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare_simulated(database, settings, 3)
    fill_really(database, settings, runner)
    jump(database, INTERVAL)
    with database.write() as connection:
        now = database.now(connection)
        first = probes.take_due(connection, settings, "", now)
        second = probes.take_due(connection, settings, "", now)
    assert (len(first), len(second)) == (3, 0)


def test_secrets_are_masked_in_what_a_probe_says(
    database: Database, settings: Settings, runner: BuildRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE_TOKEN", "s3cr3t")
    declare_simulated(database, settings, 1, extra="parameters: {TOKEN: {from_env: PLACE_TOKEN}}")
    fill_really(database, settings, runner)
    [row] = workspaces(database)
    monkeypatch.setattr(SimulatedProvisioner, "probe", lambda *_: Probe(ready=False, message="bad s3cr3t", gone=True))
    for replaced in (0, 1):
        jump(database, INTERVAL)
        assert probe(database, settings).replaced == replaced
    assert "bad ***" in [item.reason for item in read_history(database, row.id)]
