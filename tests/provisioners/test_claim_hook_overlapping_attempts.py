"""The claim hook of a worker that died or is suspended is ended before the hook runs again.

Previously only `start` and `delete` ended processes of lower attempts. The first attempt's hook, in its own session,
ran beside the second one (`begin begin end end`) and after it, in a workspace that a person already used.

test_docker.py has the test for containers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import uuid
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.command import CommandProvisioner
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.provisioners.process.directory import ClaimMarker, WorkspaceDirectory
from prebuild_tasks.provisioners.shared import processes as tree
from tests.provisioners.context import Context
from tests.provisioners.lost import Worker
from tests.support.wait import wait_until

HOOK = 'echo "$$" >> "{pids}"; while test ! -e "{go}"; do sleep 0.02; done'


@pytest.fixture
def hook(tmp_path: Path) -> str:
    return HOOK.format(pids=tmp_path / "pids", go=tmp_path / "go")


def spec_of(owner: str = "ada", **config: object) -> WorkspaceSpec:
    return WorkspaceSpec(
        installation="i", workspace_id=str(uuid.uuid4()), attempt=1, name="n", owner=owner, template="t",
        version="v", preset="p", config=config, parameters={},
    )  # fmt: skip


def pids(place: Path) -> list[int]:
    file = place / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def claim_after_a_loss(
    adapter: ProcessProvisioner | CommandProvisioner, spec: WorkspaceSpec, place: Path, number: int
) -> None:
    """Assert that the second attempt's hook begins when no process of the first one runs, and succeeds."""
    first = Worker(lambda: adapter.claim(spec, Context()))
    try:
        wait_until(lambda: pids(place), what="the first hook")
        first.lose(number)
        [orphan] = pids(place)
        second = threading.Thread(target=adapter.claim, args=(replace(spec, attempt=2), Context()))
        second.start()
        wait_until(lambda: len(pids(place)) == 2, what="the second hook")
        assert not tree.still_runs(orphan, tree.start_marker(orphan))
        assert psutil.pid_exists(pids(place)[1])
        (place / "go").touch()
        second.join(60)
    finally:
        first.bury()
        (place / "go").touch()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_of_a_process(
    provisioner: ProcessProvisioner, settings: Settings, tmp_path: Path, hook: str, number: signal.Signals
) -> None:
    """A probe and the served process are not ended with it."""
    pool = spec_of("prebuilds", start="true", serve="exec sleep 1000", claim=hook)
    provisioner.start(pool, Context())
    probe = {tree.WORKSPACE: pool.workspace_id, tree.RUN: "a probe's", "PREBUILD_OWNER": "prebuilds"}
    with subprocess.Popen(["sleep", "1000"], env={**os.environ, **probe}) as probing:
        try:
            claim_after_a_loss(provisioner, replace(pool, owner="ada"), tmp_path, number)
            assert probing.poll() is None
        finally:
            probing.kill()
    place = WorkspaceDirectory(settings.data_dir / "workspaces", pool.workspace_id)
    state = place.published()
    assert state is not None
    assert tree.still_runs(state.pid, state.born)
    assert place.claim_marker() == ClaimMarker("ada", personalised=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_of_an_executable(settings: Settings, tmp_path: Path, hook: str, number: signal.Signals) -> None:
    spec = spec_of(start="true", delete="true", claim=hook)
    claim_after_a_loss(CommandProvisioner(settings), spec, tmp_path, number)
