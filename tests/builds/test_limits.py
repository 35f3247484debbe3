"""Builds that ignore every request to stop, that never become ready, and 200 at once under one lease keeper."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from prebuild_tasks.builds import lease
from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.provisioners import BuildContext, Provisioners, Resource, WorkspaceSpec
from prebuild_tasks.provisioners.simulated import SimulatedProvisioner
from prebuild_tasks.schema import tables as m
from tests.support.builders import build_all, declare_simulated, fill_really, turn, workspaces
from tests.support.wait import wait_until


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"heartbeat_timeout": 0.8, "build_timeout": 0.4})


def test_a_start_that_hangs_is_told_to_end(database: Database, settings: Settings) -> None:
    # As long again, it is given up. With 0.4 s, a busy machine told it to end, and gave it up before it could.
    settings = settings.model_copy(update={"build_timeout": 2.0})
    runner = BuildRunner(database, settings, Provisioners(settings))
    declare_simulated(database, settings, 1, config="{hang_rate: 1}")
    [build] = turn(database, settings).follow_up.builds
    result = runner.run(build.id)
    assert (result.outcome, result.error) == ("failed", "the build ran out of time")
    runner.close()


def test_a_provisioner_that_does_not_listen_is_given_up(
    database: Database, settings: Settings, runner: BuildRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HARD_GRACE", 0.2)
    release = threading.Event()
    real = SimulatedProvisioner.start

    def deaf(self: SimulatedProvisioner, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        assert release.wait(60)
        return real(self, replace(spec, config={}), context)

    monkeypatch.setattr(SimulatedProvisioner, "start", deaf)
    declare_simulated(database, settings, 1)
    [build] = turn(database, settings).follow_up.builds
    outcomes: list[str] = []
    thread = threading.Thread(target=lambda: outcomes.append(runner.run(build.id).outcome))
    thread.start()
    wait_until(lambda: workspaces(database, m.Workspace.status == BuildStatus.FAILED), what="the end without it")
    release.set()
    thread.join(60)
    assert outcomes == ["lost"], "its late result is refused"
    with database.read() as connection:
        row = connection.execute(select(m.Build)).one()
        preset = connection.execute(select(m.Preset)).one()
    assert (row.status, row.error_code, preset.failures_in_row) == (BuildStatus.FAILED, "timeout", 1)
    assert audit(database, settings) == []


def test_what_is_never_ready_counts_as_failed_and_is_deleted(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    settings_here = settings.model_copy(update={"build_timeout": 30.0})
    runner = BuildRunner(database, settings_here, Provisioners(settings_here))
    declare_simulated(database, settings, 1, config="{never_ready_rate: 1}", extra="ready_timeout: 100ms")
    [build] = turn(database, settings).follow_up.builds
    result = runner.run(build.id)
    assert "not ready within 0.1 s: the simulated workspace is never ready" in result.error
    assert [row.transition for row in workspaces(database)] == [Transition.DELETE]
    assert build_all(database, runner) == 1
    assert workspaces(database) == []
    assert turn(database, settings).reason == "backoff"
    runner.close()
    assert audit(database, settings, Provisioners(settings)) == []


@pytest.mark.thorough
@pytest.mark.parametrize(
    "database_url", ["postgresql", pytest.param("sqlite", marks=pytest.mark.faults)], indirect=True
)
def test_two_hundred_leases_are_renewed_in_time(database: Database, settings: Settings) -> None:
    count = 200 if database.dialect == "postgresql" else 100
    settings = settings.model_copy(update={"build_timeout": 60.0, "heartbeat_timeout": 6.0})
    declare_simulated(database, settings, count, config="{build_time: 7}")
    builds = turn(database, settings).follow_up.builds
    assert len(builds) == count
    runner = BuildRunner(database, settings, Provisioners(settings))
    late: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            with database.read() as connection:
                now = database.now(connection)
                query = select(func.min(m.Build.heartbeat_at)).where(m.Build.status == BuildStatus.RUNNING)
                oldest = connection.execute(query).scalar_one()
            if oldest is not None:
                late.append((now - oldest).total_seconds())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(count) as pool:
        outcomes = [result.outcome for result in pool.map(lambda build: runner.run(build.id), builds)]
    done.set()
    watcher.join()
    runner.close()
    assert set(outcomes) == {"succeeded"}
    assert max(late) < settings.heartbeat_timeout, "no build could be taken for lost"
    assert fill_really(database, settings, runner) == count
