"""The processes `prebuild up` runs beside itself: started in sessions of their own, restarted, ended with it."""

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

import structlog

from prebuild_tasks.clock import monotonic
from prebuild_tasks.provisioners import is_running

log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1
RESTART_PAUSE = 1.0
_RESTART_PAUSE_MAX = 30.0
_POLL = 0.02


@dataclass(slots=True)
class Child:
    """One process and how it is kept alive."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes]
    started: float
    restarts: int = 0

    @property
    def has_ended(self) -> bool:
        """Looked at, not polled, which would reap it: while it is a zombie, no stranger's process or group has its
        number."""
        pid = self.process.pid
        return self.process.returncode is not None or not is_running(pid)

    def ask_to_end(self) -> None:
        """SIGTERM, to the process alone."""
        if self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGTERM)

    def bury(self) -> int:
        """Kill it, if it has not ended, and what is left of its session; returns its exit code."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()


class Children:
    """Starts, watches and ends processes. Their output goes to files."""

    def __init__(self, environment: Mapping[str, str], logs: Path, cwd: Path) -> None:
        """Keep each process's output in a file below `logs`, and start it in `cwd`."""
        self._environment = dict(environment)
        self._logs = logs
        self._cwd = cwd
        self._children: list[Child] = []
        # First the one, then the other: `parents` makes directories that everybody may read.
        cwd.mkdir(mode=0o700, parents=True, exist_ok=True)
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)

    def start(self, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Run it in a session of its own, so that Ctrl-C reaches only us; it ends when we die, whatever kills us."""
        process = self._spawn(name, arguments)
        self._children.append(Child(name, arguments, process, monotonic()))
        return process

    def set_environment(self, name: str, value: str) -> None:
        """A variable for the processes started from now on: secrets never stand on a command line."""
        self._environment[name] = value

    def revive(self) -> list[str]:
        """Start those again that have ended; returns sentences about them. Pauses grow with each restart.

        Where that fails, for want of memory or processes, it is said too, and tried again after the next pause.
        """
        said = []
        for child in self._children:
            pause = min(RESTART_PAUSE * 2**child.restarts, _RESTART_PAUSE_MAX)
            if not child.has_ended or monotonic() - child.started < pause:
                continue
            ended = f"{child.name} ended with {child.bury()}"
            child.restarts += 1
            child.started = monotonic()
            try:
                child.process = self._spawn(child.name, child.arguments)
            except (OSError, subprocess.SubprocessError) as error:
                said.append(f"{ended} and can't be started again now: {error}")
            else:
                said.append(f"{ended} and is started again; see {self._logs / child.name}.log")
        return said

    def stop(self, names: Sequence[str], grace: float) -> None:
        """Ask these to end, all at once, then kill what is left of their sessions."""
        chosen = [child for child in self._children if child.name in names]
        for child in chosen:
            child.ask_to_end()
        deadline = monotonic() + grace
        while monotonic() < deadline and not all(child.has_ended for child in chosen):
            time.sleep(_POLL)
        for child in chosen:
            child.bury()
        self._children = [child for child in self._children if child not in chosen]

    @property
    def names(self) -> list[str]:
        """Return the names of the processes."""
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
                # Only ever called from the main thread, before any other thread runs.
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
