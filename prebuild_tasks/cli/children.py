"""The processes `prebuild up` runs beside itself: started in sessions of their own, restarted, ended with it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from prebuild_tasks.clock import monotonic

log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1
_RESTART_PAUSE = 1.0
_RESTART_PAUSE_MAX = 30.0


@dataclass(slots=True)
class Child:
    """One process and how it is kept alive."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes]
    started: float
    restarts: int = 0


class Children:
    """Starts, watches and ends processes. Their output goes to files."""

    def __init__(self, environment: Mapping[str, str], logs: Path, cwd: Path) -> None:
        self._environment = dict(environment)
        self._logs = logs
        self._cwd = cwd
        self._children: list[Child] = []
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
        """Start those again that have ended; returns sentences about them. Pauses grow with each restart."""
        said = []
        for child in self._children:
            code = child.process.poll()
            pause = min(_RESTART_PAUSE * 2**child.restarts, _RESTART_PAUSE_MAX)
            if code is None or monotonic() - child.started < pause:
                continue
            said.append(f"{child.name} ended with {code} and is started again; see {self._logs / child.name}.log")
            child.restarts += 1
            child.started = monotonic()
            child.process = self._spawn(child.name, child.arguments)
        return said

    def stop(self, names: Sequence[str], grace: float) -> None:
        """Ask these to end, all at once, then kill what is left of their sessions."""
        chosen = [child for child in self._children if child.name in names]
        for child in chosen:
            with suppress(ProcessLookupError):
                child.process.send_signal(signal.SIGTERM)
        deadline = monotonic() + grace
        for child in chosen:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(deadline - monotonic(), 0.01))
        for child in chosen:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, signal.SIGKILL)  # its own children with it
            child.process.wait()
        self._children = [child for child in self._children if child not in chosen]

    @property
    def names(self) -> list[str]:
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
