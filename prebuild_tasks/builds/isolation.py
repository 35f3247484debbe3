"""A build whose worker died with it is tried again in a process of its own: what kills one then kills nothing else.

One process runs many builds in threads, and nobody can tell afterwards which of them brought it down. Each is suspect
once; from its second attempt on a build stands alone: the innocent ones succeed there, and the guilty one uses up its
attempts without company.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from prebuild_tasks.builds.lease import BEATS_PER_TIMEOUT
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings

log = structlog.get_logger(__name__)

MODULE = "prebuild_tasks.worker.isolated"
"""What is run; arguments and descriptors are the same in the releases before and after this one."""
AT_ONCE = 4
"""Such processes per worker: each costs as much memory as a small worker."""
_PAUSE = 0.1
_START_LIMIT = 60.0
"""Seconds a process may take to begin; after that its build goes back with its lease."""


class Apart:
    """Runs `python -m prebuild_tasks.worker.isolated BUILD RUNNER FD`. Safe to share between threads."""

    def __init__(self, settings: Settings, *, grace: float) -> None:
        self._limit = settings.build_timeout + grace
        self._interval = settings.heartbeat_timeout / BEATS_PER_TIMEOUT
        self._places = threading.BoundedSemaphore(AT_ONCE)

    @contextmanager
    def place(self, *, wait: bool) -> Iterator[bool]:
        """Hold a free place, after waiting for one with `wait`; whether there is one."""
        found = self._places.acquire(blocking=wait)
        try:
            yield found
        finally:
            if found:
                self._places.release()

    def run(self, build_id: str, runner: str, beat: Callable[[], None]) -> int:
        """Run the build, taken in the name of `runner`, to its end over there; the process's exit code.

        `beat` is called now and then until the process, whose start may take longer than the lease on a busy machine,
        has a heart of its own. The process ends with us, however we end. It heeds the build's own time limits; one that
        does not even end then is killed.
        """
        begun, begins = os.pipe()
        try:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", MODULE, build_id, runner, str(begins)],
                    stdin=subprocess.PIPE,
                    pass_fds=[begins],
                    start_new_session=True,
                )
            finally:
                os.close(begins)
            self._keep_until(begun, beat)
        finally:
            os.close(begun)
        deadline = monotonic() + self._limit
        while process.poll() is None:
            try:
                process.wait(_PAUSE)
            except subprocess.TimeoutExpired:
                if monotonic() > deadline:
                    process.kill()
        if process.stdin:
            process.stdin.close()
        if process.returncode:
            log.warning("build_apart_died", build=build_id, exit=process.returncode)
        return process.returncode

    def _keep_until(self, begun: int, beat: Callable[[], None]) -> None:
        """Beat until the other end is closed: by the process that has begun, or because it died."""
        deadline = monotonic() + _START_LIMIT
        while monotonic() < deadline and not select.select([begun], [], [], self._interval)[0]:
            beat()
