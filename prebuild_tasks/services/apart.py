"""A build whose worker died with it is tried again in a process of its own: what kills one then kills nothing else.

One process runs many builds in threads, and nobody can tell afterwards which of them brought it down. Each is suspect
once; from its second attempt on a build stands alone: the innocent ones succeed there, and the guilty one uses up its
attempts without company.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Such processes per worker: each costs as much memory as a small worker."""
_PAUSE = 0.1


class Apart:
    """Runs `python -m prebuild_tasks.apart BUILD RUNNER`. Safe to share between threads."""

    def __init__(self, settings: Settings, *, grace: float) -> None:
        self._limit = settings.build_timeout + grace
        self._places = threading.BoundedSemaphore(AT_ONCE)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Wait for a free place, and hold it."""
        with self._places:
            yield

    def run(self, build_id: str, runner: str) -> int:
        """Run the build, taken in the name of `runner`, to its end over there; the process's exit code.

        The process ends with us, however we end. It heeds the build's own time limits; one that does not even end then
        is killed.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "prebuild_tasks.apart", build_id, runner],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
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
