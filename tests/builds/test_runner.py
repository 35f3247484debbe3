"""A build from pending to its end, with the real process provisioner."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.insight.status.listings import build_log, builds
from prebuild_tasks.insight.status.listings import workspaces as listed
from prebuild_tasks.model.vocabulary import BuildPriority, BuildStatus, PresetStatus
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.provisioners.shared import processes as tree
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.sweep import sweep, take_back_lost
from prebuild_tasks.upkeep.types import SweepReport
from prebuild_tasks.workspaces.release import end_workspace
from tests.builds.running import in_background, pending, run_all, runner, settings
from tests.support.builders import PRESET, declare, turn, workspaces
from tests.support.wait import wait_until

__all__ = ["runner", "settings"]


def test_a_start_makes_the_workspace_ready(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare(database, settings, 1, start="echo hello")
    turn(database, settings)
    [result] = run_all(database, runner)
    assert (result.outcome, result.transition, result.attempt, result.preset) == ("succeeded", "start", 1, PRESET)
    [row] = workspaces(database)
    assert (row.status, row.host, row.slot) == (BuildStatus.SUCCEEDED, "here", 0)
    assert row.ready_at is not None
    assert Path(row.directory).is_dir()
    assert build_log(database, row.name).text == "hello\n"
    assert build_log(database, result.build[:8]).ended
    assert audit(database, settings, Provisioners(settings)) == []


def test_a_token_without_work_is_not_an_error(database: Database, settings: Settings, runner: BuildRunner) -> None:
    assert runner.run("00000000-0000-4000-8000-000000000000").outcome == "idle"
    declare(database, settings, 1)
    turn(database, settings)
    [build_id] = pending(database)
    assert runner.run(build_id).outcome == "succeeded"
    assert runner.run(build_id).outcome == "idle", "a message delivered twice runs nothing twice"


def test_what_a_person_waits_for_goes_first(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare(database, settings, 3)
    turn(database, settings)
    first, _, last = pending(database)
    with database.write() as connection:
        urgent = update(m.Build).where(m.Build.id == last).values(priority=BuildPriority.PERSON_WAITS)
        connection.execute(urgent)
    assert runner.run(first).build == last
    assert runner.run(last).build == first, "the token of a build that is done takes the next"


def test_a_failing_start_is_remembered_where_people_look(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    declare(database, settings, 1, start="echo no disk left; exit 3")
    turn(database, settings)
    [result] = run_all(database, runner)
    assert (result.outcome, result.error) == ("failed", "start exited with 3: no disk left")
    [row] = workspaces(database)
    assert (row.status, row.slot) == (BuildStatus.FAILED, None)
    with database.read() as connection:
        preset = connection.execute(select(m.Preset)).one()
    assert (preset.failures_in_row, len(preset.recent_failures), preset.last_error) == (1, 1, result.error)
    assert "no disk left" in build_log(database, row.name).text
    assert builds(database, status="failed")[0].error == result.error
    assert turn(database, settings).reason == "backoff"


def test_not_ready_in_time_is_a_failed_build(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare(database, settings, 1, config='ready: "echo still cold; false"', extra="ready_timeout: 600ms")
    turn(database, settings)
    [result] = run_all(database, runner)
    assert result.outcome == "failed"
    assert "not ready within 0.6 s: ready exited with 1: still cold" in result.error


def test_out_of_time_ends_the_whole_group(database: Database, settings: Settings) -> None:
    # As long again, it is given up: a busy machine takes more than 0.7 s to end what it told to end.
    settings = settings.model_copy(update={"build_timeout": 2.0})
    runner = BuildRunner(database, settings, Provisioners(settings))
    declare(database, settings, 1, start="sleep 1000 & sleep 1000")
    turn(database, settings)
    [result] = run_all(database, runner)
    runner.close()
    assert (result.outcome, result.error) == ("failed", "the build ran out of time")
    assert tree.marked([workspaces(database)[0].id]) == []


def test_secrets_reach_the_workspace_and_no_log(
    database: Database, settings: Settings, runner: BuildRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_TOKEN", "s3cret-one")
    (tmp_path / "token").write_text("s3cret-two\n")
    declare(
        database, settings, 1, start="echo $A and $B >&2; printf %s $A; echo $A > kept; exit 1",
        extra=f"parameters: {{A: {{from_env: GIT_TOKEN}}, B: {{from_file: {tmp_path / 'token'}}}}}",
    )  # fmt: skip
    turn(database, settings)
    [result] = run_all(database, runner)
    [row] = workspaces(database)
    seen = build_log(database, row.name).text + result.error + str(listed(database)) + str(builds(database))
    assert "*** and ***" in seen
    assert "s3cret" not in seen
    [kept] = (settings.data_dir / "workspaces").glob("*/a1/kept")
    assert kept.read_text() == "s3cret-one\n"


def test_a_secret_that_is_not_there_is_said_and_never_tried_again(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    declare(database, settings, 1, extra="parameters: {A: {from_env: NOT_SET_HERE}}")
    turn(database, settings)
    [result] = run_all(database, runner)
    assert result.error == "parameter A: NOT_SET_HERE is not set where builds run"
    with database.read() as connection:
        assert connection.execute(select(m.Preset.status)).scalar_one() is PresetStatus.VALIDATION_FAILED


def test_a_deletion_removes_everything(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare(database, settings, 1, config='serve: "exec sleep 1000"', start="echo x > x")
    with pytest.raises(NotFoundError):
        end_workspace(database, "nothing", actor="op")
    turn(database, settings)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(ready_timeout_s=0.1))
    run_all(database, runner)  # nothing listens on the port: never ready
    [row] = workspaces(database)
    end_workspace(database, row.name, actor="op", operator=True)
    [result] = run_all(database, runner)
    assert (result.outcome, result.transition) == ("succeeded", "delete")
    assert workspaces(database) == []
    assert not (settings.data_dir / "workspaces" / row.id).exists()
    assert tree.marked([row.id]) == []


def test_a_running_build_learns_that_it_is_cancelled(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    declare(database, settings, 1, start="echo begun; sleep 1000")
    turn(database, settings)
    thread, results = in_background(runner, pending(database)[0])
    [row] = wait_until(lambda: workspaces(database, m.Workspace.status == BuildStatus.RUNNING), what="the start")
    wait_until(lambda: "begun" in build_log(database, row.name).text, what="its output while it runs")
    end_workspace(database, row.name, actor="op", operator=True)
    thread.join(60)
    assert results[0].outcome == "canceled"
    assert len(results[0].follow_up.builds) == 1, "what was half made is deleted"
    run_all(database, runner)
    assert workspaces(database) == []
    assert audit(database, settings, Provisioners(settings)) == []


def test_the_late_result_of_a_lost_attempt_is_refused(
    database: Database, settings: Settings, runner: BuildRunner, tmp_path: Path
) -> None:
    declare(database, settings, 1, start=f"until [ -e {tmp_path}/go ]; do sleep 0.02; done")
    turn(database, settings)
    thread, results = in_background(runner, pending(database)[0])
    wait_until(lambda: workspaces(database, m.Workspace.status == BuildStatus.RUNNING), what="the start")

    def is_taken() -> bool:  # not at once if the lease is renewed in between
        return take_back_lost(database, settings, runner_prefix="here/").retaken == 1

    wait_until(is_taken, what="its loss")
    (tmp_path / "go").touch()
    thread.join(60)
    assert results[0].outcome == "lost"
    [row] = workspaces(database)
    assert (row.status, row.slot) == (BuildStatus.PENDING, 0)
    [result] = run_all(database, runner)
    assert (result.outcome, result.attempt) == ("succeeded", 2)
    assert audit(database, settings, Provisioners(settings)) == []


def test_a_worker_that_dies_too_often_fails_the_build(database: Database, settings: Settings) -> None:
    from prebuild_tasks.builds import store

    declare(database, settings, 1)
    turn(database, settings)
    [build_id] = pending(database)
    settings = settings.model_copy(update={"heartbeat_timeout": 50.0})  # a sweep of a busy machine is slow
    for attempt in (1, 2, 3):
        with database.write() as connection:
            past = database.now(connection) - timedelta(seconds=60)
            assert store.take(connection, build_id, f"dead-{attempt}", "here", past)
        result = sweep(database, settings, lambda _: 0)
        assert (result.retaken, result.ended) == ((1, 0) if attempt < 3 else (0, 1))
    [row] = workspaces(database)
    assert (row.status, row.slot, row.reason) == (BuildStatus.FAILED, None, "it lost its worker 3 times")


@pytest.mark.timed
def test_a_build_with_a_renewed_lease_is_left_alone(database: Database, settings: Settings) -> None:
    # Renewed every half second, so that a busy machine may keep the thread waiting for a second.
    settings = settings.model_copy(update={"heartbeat_timeout": 1.5})
    runner = BuildRunner(database, settings, Provisioners(settings))
    declare(database, settings, 1, start="sleep 2.2")
    turn(database, settings)
    thread, results = in_background(runner, pending(database)[0])
    wait_until(lambda: workspaces(database, m.Workspace.status == BuildStatus.RUNNING), what="the start")
    while thread.is_alive():
        assert sweep(database, settings, lambda _: 0).report() == SweepReport()
        thread.join(0.1)
    runner.close()
    Provisioners(settings).get("process").rest()  # type: ignore[attr-defined]
    assert results[0].outcome == "succeeded"
