"""A parameter is read only from a regular file; anything else is refused with a clear message.

Previously, opening a named pipe blocked. The build's lease was not being renewed yet, so it expired while the worker's
thread hung forever, and the next attempt lost another thread.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.provisioners import Provisioners
from tests.support.builders import declare, turn


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("kind", "words"),
    [("pipe", "it is not a regular file"), ("/dev/zero", "it is not a regular file"), ("directory", "Is a directory")],
)
def test_it_is_refused(database: Database, settings: Settings, tmp_path: Path, kind: str, words: str) -> None:
    path = tmp_path / kind if kind != "/dev/zero" else Path(kind)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    declare(database, settings, 1, extra=f"parameters: {{T: {{from_file: {path}}}}}")
    [build] = turn(database, settings).follow_up.builds
    runner = BuildRunner(database, settings, Provisioners(settings))
    result = runner.run(build.id)
    runner.close()
    assert result.outcome == "failed"
    assert result.error.startswith(f"parameter T: {path} cannot be read: ")
    assert words in result.error
