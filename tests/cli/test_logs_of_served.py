"""`prebuild logs WORKSPACE --serve` says whether the process still runs, which its output does not tell."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.insight.status.served import served_output
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.provisioners.process import ProcessProvisioner
from tests.support.builders import build_all, declare, turn, workspaces
from tests.support.command_line import Here
from tests.support.wait import wait_until


@pytest.fixture
def process(here: Here) -> Iterator[ProcessProvisioner]:
    process = Provisioners(here.settings).get("process")
    assert isinstance(process, ProcessProvisioner)
    yield process
    process.rest()


def built(here: Here, runner: BuildRunner, config: str = "") -> str:
    """Build a workspace of this recipe, and return its name."""
    declare(here.database, here.settings, 1, config=config)
    turn(here.database, here.settings)
    build_all(here.database, runner)
    [row] = workspaces(here.database)
    return str(row.name)


def test_a_process_that_runs_and_one_that_has_ended(
    here: Here, runner: BuildRunner, process: ProcessProvisioner
) -> None:
    """Nothing at all was printed for a process that had written nothing."""
    name = built(here, runner, "serve: 'test ! -e talk || echo up; exec sleep 1000', ready: 'true'")
    assert here.run("logs", name, "--serve") == "the served process is still running, and has written nothing\n"
    process.rest()
    assert here.run("logs", name, "--serve") == "the served process has ended, and has written nothing\n"
    [directory] = (here.settings.data_dir / "workspaces").glob("*/a1")
    (directory / "talk").touch()
    assert process.serve_again() == 1
    provisioners = Provisioners(here.settings)
    wait_until(lambda: served_output(here.database, here.settings, provisioners, name).text, what="its output")
    assert here.run("logs", name, "--serve") == "up\nthe served process is still running\n"
    page = {"workspace": name, "text": "up\n", "running": True}
    assert json.loads(here.run("logs", name, "--serve", "--json")) == page


def test_a_workspace_that_serves_nothing(here: Here, runner: BuildRunner) -> None:
    assert here.run("logs", built(here, runner), "--serve") == "there is no output of a served process\n"
