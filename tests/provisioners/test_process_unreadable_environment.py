"""A process whose environment is unreadable, such as ssh-agent, ends with the session it was started in.

Previously, if the service was not root, an unreadable process was taken for gone, and outlived its command, its build
and its workspace.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

import pytest

from prebuild_tasks.provisioners.shared import processes as tree
from tests.provisioners.unprivileged import unprivileged

_SET_DUMPABLE = 4


@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that forbids it")
def test_its_session_says_whose_it_is() -> None:
    libc = ctypes.CDLL(None)

    def started_and_ended() -> None:
        ready, begun = os.pipe()
        pid = os.fork()
        if not pid:
            os.setsid()
            libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
            os.write(begun, b".")
            signal.alarm(30)
            signal.pause()
            os._exit(0)
        assert os.read(ready, 1) == b"."
        with pytest.raises(PermissionError):
            Path(f"/proc/{pid}/environ").read_bytes()
        leader = tree.Leader(pid, tree.start_marker(pid))
        assert [process.pid for process in tree.marked([], leaders=[leader])] == [pid]
        assert tree.end(lambda: tree.marked([], leaders=[leader])) == 1
        os.waitpid(pid, 0)

    unprivileged(started_and_ended)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make somebody else's process")
def test_what_became_somebody_elses_is_left_alone() -> None:
    """A process started by `sudo` can't be ended, and must not prevent the workspace's deletion."""
    ready, begun = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        os.write(begun, b".")
        signal.alarm(30)
        signal.pause()
        os._exit(0)
    try:
        assert os.read(ready, 1) == b"."
        leader = tree.Leader(pid, tree.start_marker(pid))

        def looked() -> None:
            assert tree.marked([], leaders=[leader]) == []

        unprivileged(looked)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
