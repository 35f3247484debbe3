"""A start can be canceled while it removes what lower attempts left.

Previously the removal did not check the build's context. A cancellation, a lost lease or the time limit had no effect
while `rm` went through a big tree, or hung on a file system that did not answer.
"""

from __future__ import annotations

import os
import threading
import uuid
from pathlib import Path

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BuildStoppedError
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.provisioners.process.directory import WorkspaceDirectory
from tests.provisioners.context import Context
from tests.support.wait import wait_until


def test_a_cancel_is_heard(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = WorkspaceSpec(
        installation="i", workspace_id=str(uuid.uuid4()), attempt=2, name="n", owner="prebuilds", template="t",
        version="v", preset="p", config={"start": "true"}, parameters={},
    )  # fmt: skip
    place = WorkspaceDirectory(settings.data_dir / "workspaces", spec.workspace_id)
    place.begin("i", 1)
    place.make_attempt_directory(1)
    slow = tmp_path / "bin" / "rm"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\nexec sleep 20\n")
    slow.chmod(0o700)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    context, outcome = Context(), list[Exception]()

    def start() -> None:
        try:
            ProcessProvisioner(settings).start(spec, context)
        except BuildStoppedError as error:
            outcome.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    wait_until((tmp_path / "begun").exists, what="the removal")
    context.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert len(outcome) == 1
