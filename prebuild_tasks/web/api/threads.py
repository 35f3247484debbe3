"""The threads that use the database: as many as connections, of which few work while calls are quick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import get_ident
from typing import TypeVar

from prebuild_tasks.clock import monotonic

FEW = 3
"""Threads for calls that are quick. More of them only take the interpreter from each other and from the event loop:
with ten, 32 clients cost a third more CPU per claim."""
QUICK = 0.1
"""Seconds. A call that takes longer waits for the database, so the next ones get the other threads."""

T = TypeVar("T")


class _Pool:
    """Threads, and when each began with what it does."""

    def __init__(self, number: int) -> None:
        self.threads = ThreadPoolExecutor(number, thread_name_prefix="request")
        self.began: dict[int, float] = {}
        """Times by thread."""

    def run(self, work: Callable[[], T]) -> T:
        thread = get_ident()
        self.began[thread] = monotonic()
        try:
            return work()
        finally:
            del self.began[thread]

    def is_slow(self) -> bool:
        """Return whether a call takes long."""
        return bool(self.began) and min(list(self.began.values()), default=monotonic()) < monotonic() - QUICK


class Threads:
    """Runs calls in threads. Use it in one event loop."""

    def __init__(self, number: int) -> None:
        """Take how many calls may run at a time."""
        few = min(FEW, number)
        self._few = _Pool(few)
        self._others = _Pool(number - few) if number > few else self._few
        self._asked = 0
        """Calls that have not ended."""

    @property
    def in_use(self) -> int:
        """Threads that run a call."""
        pools = {self._few, self._others}
        return sum(len(pool.began) for pool in pools)

    @property
    def waiting(self) -> int:
        """Calls that wait for a thread."""
        return max(0, self._asked - self.in_use)

    async def call(self, work: Callable[[], T]) -> T:
        """Call a function in a thread, and in the context of the caller. Raises what it raises."""
        pool = self._others if self._few.is_slow() else self._few
        self._asked += 1
        try:
            run = copy_context().run
            return await asyncio.get_running_loop().run_in_executor(pool.threads, run, pool.run, work)
        finally:
            self._asked -= 1

    def close(self) -> None:
        """Wait for what runs."""
        for pool in (self._few, self._others):
            pool.threads.shutdown()
