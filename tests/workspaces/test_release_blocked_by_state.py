"""Workspaces that somebody releases or deletes are removed, whatever state they are in.

Previously, the hook of a workspace released while it ran was canceled, and the workspace stayed forever; if the hook
or start was just ending, so that the runner missed the cancellation, the release had no effect; and a workspace whose
secret could not be found failed its deletion again and again.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, turn, workspaces
from tests.support.wait import wait_until


def pending(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(m.Build.id).where(m.Build.status == BuildStatus.PENDING)).scalars())


def claimed_with_hook(
    database: Database, settings: Settings, runner: BuildRunner, command: str
) -> tuple[str, threading.Thread]:
    """Return the name of a claimed workspace, and the thread in which its hook runs."""
    declare(database, settings, 1, config=f'claim: "{command}"')
    turn(database, settings)
    assert runner.run(pending(database)[0]).outcome == "succeeded"
    answer = claim(database, ClaimRequest(owner="ada", presets=[PRESET])).answer
    hook = threading.Thread(target=runner.run, args=(pending(database)[0],))
    hook.start()
    wait_until(lambda: workspaces(database, m.Workspace.status == BuildStatus.RUNNING), what="the hook")
    return answer.workspace, hook


def test_a_workspace_released_while_it_is_personalised(database: Database, settings: Settings) -> None:
    settings = settings.model_copy(update={"heartbeat_timeout": 0.8})
    runner = BuildRunner(database, settings, Provisioners(settings))
    name, hook = claimed_with_hook(database, settings, runner, "sleep 1000")
    end_workspace(database, name, actor="ada")
    hook.join(60)
    [deletion] = pending(database)
    with database.read() as connection:
        row = connection.execute(select(m.Build).where(m.Build.id == deletion)).one()
    assert (row.transition, row.initiator) == (Transition.DELETE, "ada")
    assert runner.run(deletion).outcome == "succeeded"
    runner.close()
    assert workspaces(database) == []
    assert audit(database, settings, Provisioners(settings)) == []


@pytest.mark.parametrize("how", ["succeeds", "fails"])
@pytest.mark.parametrize("claimed", [True, False])
def test_a_build_that_ends_before_it_hears_that_it_should(
    database: Database, settings: Settings, tmp_path: Path, how: str, claimed: bool
) -> None:
    """Leases are renewed every ten seconds, and the build is done long before."""
    last = "true" if how == "succeeds" else "exit 1"
    work = f"touch {tmp_path}/begun; until test -e {tmp_path}/go; do sleep 0.02; done; {last}"
    runner = BuildRunner(database, settings, Provisioners(settings))
    declare(database, settings, 1, **({"config": f"claim: {json.dumps(work)}"} if claimed else {"start": work}))
    turn(database, settings)
    if claimed:
        assert runner.run(pending(database)[0]).outcome == "succeeded"
        claim(database, ClaimRequest(owner="ada", presets=[PRESET]))
    build = threading.Thread(target=runner.run, args=(pending(database)[0],))
    build.start()
    wait_until((tmp_path / "begun").exists, what="the build")
    end_workspace(database, workspaces(database)[0].name, actor="ada", operator=True)
    (tmp_path / "go").touch()
    build.join(60)
    [deletion] = pending(database)
    with database.read() as connection:
        row = connection.execute(select(m.Build).where(m.Build.id == deletion)).one()
    assert (row.transition, row.initiator, row.reason) == (Transition.DELETE, "ada", "canceled")
    assert runner.run(deletion).outcome == "succeeded"
    runner.close()
    assert workspaces(database) == []


@pytest.mark.parametrize("reference", ["from_env: NOT_SET_HERE", "from_file: /nowhere/token"])
def test_a_workspace_whose_secret_is_not_there(database: Database, settings: Settings, reference: str) -> None:
    runner = BuildRunner(database, settings, Provisioners(settings))
    declare(database, settings, 1, extra=f"parameters: {{T: {{{reference}}}}}")
    turn(database, settings)
    assert runner.run(pending(database)[0]).outcome == "failed"
    end_workspace(database, workspaces(database)[0].name, actor="op", operator=True)
    assert runner.run(pending(database)[0]).outcome == "succeeded"
    runner.close()
    assert workspaces(database) == []


def test_asked_again_while_the_hook_is_being_stopped_is_not_an_error(database: Database, settings: Settings) -> None:
    """The answer to the first request may have been lost. Previously: "it is usable, try again in a moment"."""
    settings = settings.model_copy(update={"heartbeat_timeout": 60.0})
    runner = BuildRunner(database, settings, Provisioners(settings))
    name, hook = claimed_with_hook(database, settings, runner, "sleep 4")
    for _ in range(2):
        end_workspace(database, name, actor="ada")
        assert workspaces(database, m.Workspace.status == BuildStatus.CANCELING)
    hook.join(60)
    [deletion] = pending(database)
    end_workspace(database, name, actor="ada")
    assert runner.run(deletion).outcome == "succeeded"
    runner.close()
    assert workspaces(database) == []
