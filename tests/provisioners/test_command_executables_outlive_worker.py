"""Ctrl-C under `prebuild up` left executables of the command provisioner running if they took longer to end than the
builds worker was given; and after a SIGKILL, the directory of each call, possibly with credentials, stayed forever.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.provisioners import RestsWithHost, WorkspaceSpec
from prebuild_tasks.provisioners.command import CommandProvisioner
from tests.provisioners.context import Context
from tests.support.wait import wait_until

LONG = """
echo secret > "$TMPDIR/credentials"; mkdir "$TMPDIR/kept"; touch "$TMPDIR/kept/a"; chmod 500 "$TMPDIR/kept"
(unset PREBUILD_WORKSPACE_ID; HOME=/ TMPDIR=/tmp exec sleep 1000) &
echo $$ $! > {note}.new; mv {note}.new {note}; sleep 1000
"""
WORKER = """
import sys
from prebuild_tasks.provisioners.command.call import call
call("start", sys.argv[1], {}, {"PATH": sys.argv[2], "PREBUILD_WORKSPACE_ID": "w"})
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give this test its own directory for temporary files."""
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    return tmp_path / "t"


@pytest.fixture
def left(tmp_path: Path, place: Path) -> Iterator[list[psutil.Process]]:
    """Return the processes of an executable whose worker was killed."""
    note = tmp_path / "note"
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, LONG.format(note=note), os.environ["PATH"]],
        env={**os.environ, "TMPDIR": str(place)},
    )
    wait_until(note.exists, what="an executable that runs")
    worker.kill()
    worker.wait()
    processes = [psutil.Process(int(pid)) for pid in note.read_text().split()]
    yield processes
    for process in processes:
        if process.is_running():
            process.kill()


@pytest.mark.parametrize("how", ["rest", "serve_again"])
def test_it_is_ended_and_its_directory_goes(
    settings: Settings, left: list[psutil.Process], place: Path, how: str
) -> None:
    provisioner = CommandProvisioner(settings)
    assert isinstance(provisioner, RestsWithHost)
    assert all(process.status() != psutil.STATUS_ZOMBIE for process in left)
    (home,) = place.iterdir()
    assert (home / "credentials").read_text() == "secret\n"
    count = getattr(provisioner, how)()
    assert count >= 2 if how == "rest" else count == 0
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left)
    assert not list(place.iterdir())


def test_a_call_under_way_is_left_alone(settings: Settings, place: Path, tmp_path: Path) -> None:
    provisioner, gate = CommandProvisioner(settings), tmp_path / "gate"
    start = f'touch here; until [ -e {gate} ]; do sleep 0.02; done; [ -e "$TMPDIR/here" ]'
    spec = WorkspaceSpec(
        installation="i", workspace_id=str(uuid.uuid4()), attempt=1, name="n", owner="prebuilds", template="t",
        version="v", preset="p", config={"start": start, "delete": "true"}, parameters={},
    )  # fmt: skip
    made: list[object] = []
    build = threading.Thread(target=lambda: made.append(provisioner.start(spec, Context())))
    build.start()
    try:
        wait_until(lambda: list(place.glob("*/here")), what="a call under way")
        assert provisioner.rest() == 0
    finally:
        gate.touch()
        build.join()
    assert made
    assert not list(place.iterdir())


def test_what_is_not_ours_is_left_alone(settings: Settings, place: Path, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").touch()
    (place / "prebuild-call-link").symlink_to(tmp_path / "else")
    (place / "prebuild-call-file").touch()
    CommandProvisioner(settings).serve_again()
    assert (tmp_path / "else" / "file").exists()
    assert {path.name for path in place.iterdir()} == {"prebuild-call-link", "prebuild-call-file"}
