"""A workspace can be deleted on a full disk, and after its own commands made its directory read-only.

Previously, `delete` began by writing a mark to a new file. Without a free inode, over quota, or after `chmod a-w ..` in
the workspace, that failed every time, so no process was ended and nothing was removed: the operation that would have
made room needed room.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BuildStoppedError
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.provisioners.process.directory import Published, WorkspaceDirectory
from prebuild_tasks.provisioners.shared import processes as tree
from tests.provisioners.context import Context
from tests.provisioners.unprivileged import anybodys_directory, unprivileged

SERVED = {"start": "true", "serve": "exec sleep 1000"}


@pytest.fixture
def spec(spec: WorkspaceSpec) -> WorkspaceSpec:
    return replace(spec, config=SERVED)


@pytest.fixture(params=[errno.ENOSPC, errno.EDQUOT])
def full(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Refuse to create files and directories; existing ones can be written and removed."""
    really_open = os.open

    def no_room(path: Any) -> OSError:
        return OSError(request.param, os.strerror(request.param), str(path))

    def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_CREAT and not os.path.lexists(path):
            raise no_room(path)
        return really_open(path, flags, *rest, **named)

    def mkdir(path: Any, *_: Any, **__: Any) -> None:
        raise no_room(path)

    def fill() -> None:
        monkeypatch.setattr(os, "open", open_)
        monkeypatch.setattr(os, "mkdir", mkdir)

    return fill


def test_a_served_workspace_is_deleted(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, full: Callable[[], None]
) -> None:
    place = Path(provisioner.start(spec, Context()).resource_id)
    assert tree.marked([spec.workspace_id])
    full()
    provisioner.delete(spec, Context())
    assert tree.marked([spec.workspace_id]) == []
    assert not place.exists()


def test_a_half_made_one_is_deleted(
    provisioner: ProcessProvisioner, settings: Settings, spec: WorkspaceSpec, full: Callable[[], None]
) -> None:
    """It was never served, so even the lock file is missing."""
    place = WorkspaceDirectory(settings.data_dir / "workspaces", spec.workspace_id)
    place.begin("i", 1)
    (place.make_attempt_directory(1) / "file").touch()
    place.publish(Published(attempt=1, serve=("sleep", "1000")))
    full()
    provisioner.delete(spec, Context())
    assert not place.path.exists()


@pytest.mark.parametrize("mode", ["0500", "0000"])
def test_a_place_that_was_made_read_only_is_deleted(settings: Settings, spec: WorkspaceSpec, mode: str) -> None:
    with anybodys_directory() as directory:
        adapter = ProcessProvisioner(settings.model_copy(update={"data_dir": directory / "data"}))

        def made_and_deleted() -> None:
            place = Path(adapter.start(replace(spec, config={"start": "true"}), Context()).resource_id)
            place.chmod(int(mode, 8))
            adapter.delete(spec, Context())
            assert not place.exists()

        unprivileged(made_and_deleted)


def test_a_start_that_slept_until_now_leaves_nothing(
    provisioner: ProcessProvisioner, settings: Settings, spec: WorkspaceSpec
) -> None:
    """It publishes and serves after the deletion has listed the processes, even one that clears its environment."""
    place = WorkspaceDirectory(settings.data_dir / "workspaces", spec.workspace_id)
    place.begin("i", 1)
    place.make_attempt_directory(1)
    late = Published(attempt=1, serve=("env", "-i", "sleep", "1000"))
    served = []

    class WakesItUp(Context):
        def check(self) -> None:
            if not served and not tree.marked([spec.workspace_id]):
                place.publish(late)
                assert provisioner.serve(place)
                served.extend(place.sessions())

    provisioner.delete(spec, WakesItUp())
    assert len(served) == 1
    assert not tree.still_runs(served[0].pid, served[0].born)
    assert not place.path.exists()
    with pytest.raises(BuildStoppedError, match="deleted meanwhile"):
        place.publish(late)


def test_what_is_deleted_is_never_served_again(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    """A worker that starts during the deletion, or before its next attempt, does not serve it."""

    class Stopped(Context):
        def check(self) -> None:
            self.stop()
            super().check()

    provisioner.start(spec, Context())
    with pytest.raises(BuildStoppedError):
        provisioner.delete(spec, Stopped())
    assert provisioner.serve_again() == 0
    assert provisioner.probe(spec).gone
    [left] = provisioner.list("i")
    assert left.workspace_id == spec.workspace_id, "still ours to remove"
    provisioner.delete(replace(spec, attempt=2), Context())
    assert list(provisioner.list("i")) == []
