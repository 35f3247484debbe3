"""Operations that fail for lack of disk space or file descriptors leave nothing behind.

Previously, a file that could not be written completely stayed under its temporary name, on a full disk; an isolated
process that could not be started leaked both ends of its pipe; and a command whose pipes could not be watched was
waited for, however long it took, without reading its output.
"""

from __future__ import annotations

import errno
import os
import selectors
from pathlib import Path

import pytest

from prebuild_tasks.builds import isolation
from prebuild_tasks.builds.isolation import IsolatedProcesses
from prebuild_tasks.config import Settings
from prebuild_tasks.provisioners.shared import disk
from prebuild_tasks.provisioners.shared.run import run


def test_a_file_that_is_not_written_whole_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk.replace_file(tmp_path / "state", "before")
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        disk.replace_file(tmp_path / "state", "after")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"state": "before"}


def test_an_isolated_process_that_does_not_start_keeps_no_pipe(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(isolation.sys, "executable", "/nowhere/python")
    pipes: list[int] = []
    really_pipe = os.pipe

    def pipe() -> tuple[int, int]:
        ends = really_pipe()
        pipes.extend(ends)
        return ends

    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(FileNotFoundError):
        IsolatedProcesses(settings, grace=1).run("b", "r", lambda: None)
    assert len(pipes) >= 2
    for end in pipes:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)


def test_a_command_whose_pipes_can_not_be_watched_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(selectors, "DefaultSelector", none_left)
    with pytest.raises(OSError, match="Too many open files"):
        run(["sh", "-c", "sleep 10; echo > ended"], cwd=tmp_path, env={"PATH": os.environ["PATH"]})
    assert list(tmp_path.iterdir()) == []
