"""Isolated processes for builds whose worker died, so that a build that kills its process harms no other.

A worker runs many builds in threads, and nothing shows afterwards which of them crashed it. Each of them is
suspected: from its second attempt on it runs in its own process. The harmless ones succeed there, and the harmful
one uses up its attempts alone.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prebuild_tasks.builds.lease import RENEWALS_PER_TIMEOUT
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.logs import get_logger

log = get_logger(__name__)

MODULE = "prebuild_tasks.worker.isolated"
"""The module that is run. Its arguments and descriptors must not change between one release and the next."""
AT_ONCE = 4
"""Processes per worker: each costs as much memory as a small worker."""
_PAUSE = 0.1
"""Seconds between two checks that the process is still running."""
_START_LIMIT = 60.0
"""Seconds that a process may take to begin. After that its lease runs out, and the build goes back to pending."""


class IsolatedProcesses:
    """Run builds as `python -m prebuild_tasks.worker.isolated BUILD RUNNER FD`. Safe to share between threads."""

    def __init__(self, settings: Settings, *, grace: float) -> None:
        self._limit = settings.build_timeout + grace
        self._interval = settings.heartbeat_timeout / RENEWALS_PER_TIMEOUT
        self._free = threading.BoundedSemaphore(AT_ONCE)

    @contextmanager
    def reserve(self, *, wait: bool) -> Iterator[bool]:
        """Reserve one of the processes for the block; yield whether one was free.

        Args:
            wait: Block until one is free.
        """
        reserved = self._free.acquire(blocking=wait)
        try:
            yield reserved
        finally:
            if reserved:
                self._free.release()

    def is_one_free(self) -> bool:
        """Return whether a process is free at this moment."""
        with self.reserve(wait=False) as reserved:
            return reserved

    def run(self, build_id: str, runner: str, renew: Callable[[], None]) -> int:
        """Run a build that was taken in the name of `runner` in a process of its own, and return its exit code.

        The process ends when this one does, for whatever reason. It enforces the build's time limits itself, and is
        killed if it exceeds them.

        Args:
            build_id: The build to run.
            runner: The runner's name that the build's row holds.
            renew: Renews the lease. Called until the process renews it itself, because starting it may take longer
                than the lease lasts on a busy machine.
        """
        begun, begins = os.pipe()
        try:
            try:
                process = start_process(build_id, runner, begins)
            finally:
                os.close(begins)
            self._renew_until(begun, renew)
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
            log.warning("isolated_build_died", build=build_id, exit=process.returncode)
        return process.returncode

    def _renew_until(self, begun: int, renew: Callable[[], None]) -> None:
        """Renew the lease until the pipe's other end is closed: by the process once it has begun, or by its death."""
        deadline = monotonic() + _START_LIMIT
        while monotonic() < deadline and not select.select([begun], [], [], self._interval)[0]:
            renew()


def start_process(build_id: str, runner: str, begins: int) -> subprocess.Popen[bytes]:
    """Start the process of a build, which ends when its input is closed.

    Args:
        build_id: The build to run.
        runner: The runner's name that the build's row holds.
        begins: The descriptor that the process closes once it renews the lease itself.
    """
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, build_id, runner, str(begins)],
        stdin=subprocess.PIPE,
        pass_fds=[begins],
        start_new_session=True,
    )
