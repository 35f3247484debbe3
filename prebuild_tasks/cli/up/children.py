"""Child processes of `prebuild up`: each has its own session, is restarted when it ends, and ends with `up`."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prebuild_tasks.clock import monotonic
from prebuild_tasks.logs import get_logger
from prebuild_tasks.provisioners import is_running

log = get_logger(__name__)

_PR_SET_PDEATHSIG = 1
RESTART_PAUSE = 1.0
_RESTART_PAUSE_MAX = 30.0
"""Seconds between a start and the next restart, which double with each restart."""
_POLL = 0.02


@dataclass(slots=True)
class Child:
    """A child process and the command that restarts it."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes]
    started: float
    restarts: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, without reaping it.

        As long as it is a zombie, the system gives its number to no other process or group.
        """
        return self.process.returncode is not None or not is_running(self.process.pid)

    def terminate(self) -> None:
        """Send SIGTERM to the process, but not to its session."""
        if self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGTERM)

    def reap(self) -> int:
        """Kill what is left of the process and its session, and return the process's exit code."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()


class Children:
    """Starts, restarts and ends child processes, whose output goes to log files."""

    def __init__(self, environment: Mapping[str, str], logs: Path, cwd: Path) -> None:
        """Keep each process's output in a file below `logs`, and start it in `cwd`."""
        self._environment = dict(environment)
        self._logs = logs
        self._cwd = cwd
        self._children: list[Child] = []
        # One after the other, because `parents` makes missing directories that everyone may read.
        cwd.mkdir(mode=0o700, parents=True, exist_ok=True)
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)

    def start(self, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process in its own session, so that Ctrl-C does not reach it.

        On Linux it gets SIGTERM when this process dies, even by SIGKILL.
        """
        process = self._spawn(name, arguments)
        self._children.append(Child(name, arguments, process, monotonic()))
        return process

    def set_environment(self, name: str, value: str) -> None:
        """Set a variable of the processes that are started later. Secrets go here rather than on a command line."""
        self._environment[name] = value

    def restart_ended(self) -> list[str]:
        """Restart the processes that have ended, and return a sentence about each.

        A process is restarted only after a pause, which doubles each time. A restart that fails, because memory or
        process ids have run out, is reported, and is tried again after the next pause.
        """
        sentences = []
        for child in self._children:
            pause = min(RESTART_PAUSE * 2**child.restarts, _RESTART_PAUSE_MAX)
            if not child.has_ended or monotonic() - child.started < pause:
                continue
            ended = f"{child.name} ended with {child.reap()}"
            child.restarts += 1
            child.started = monotonic()
            try:
                child.process = self._spawn(child.name, child.arguments)
            except (OSError, subprocess.SubprocessError) as error:
                sentences.append(f"{ended} and cannot be restarted now: {error}")
            else:
                sentences.append(f"{ended} and is restarted; see {self._logs / child.name}.log")
        return sentences

    def stop(self, names: Sequence[str], grace: float) -> None:
        """Terminate these processes at once, then kill what is left of their sessions after `grace` seconds."""
        chosen = [child for child in self._children if child.name in names]
        for child in chosen:
            child.terminate()
        deadline = monotonic() + grace
        while monotonic() < deadline and not all(child.has_ended for child in chosen):
            time.sleep(_POLL)
        for child in chosen:
            child.reap()
        self._children = [child for child in self._children if child not in chosen]

    @property
    def names(self) -> list[str]:
        """Return the names of all processes, in the order of their start."""
        return [child.name for child in self._children]

    def _spawn(self, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self._logs / f"{name}.log").open("ab") as output:
            return subprocess.Popen(
                list(arguments),
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # Safe, because only the main thread starts processes, before any other thread runs.
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
