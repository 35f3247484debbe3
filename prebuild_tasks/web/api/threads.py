"""The threads in which requests use the database: as many as connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from prebuild_tasks.errors import BusyError

PATIENCE = 5.0
"""Seconds that a request waits for a thread."""

T = TypeVar("T")


class Threads:
    """A bounded number of threads. To be used from one event loop."""

    def __init__(self, number: int, patience: float = PATIENCE) -> None:
        """Take the number of threads, and the seconds that a call waits for one."""
        self._number, self._patience = number, patience
        self._free = asyncio.Semaphore(number)
        self._executor = ThreadPoolExecutor(number, thread_name_prefix="request")
        self.in_use = self.waiting = 0
        """Threads in use, and calls that wait for one."""

    async def call(self, work: Callable[[], T]) -> T:
        """Call a function in a thread. Raises what it raises, and BusyError if no thread was free in time.

        A caller that is canceled leaves the thread to its work, and the thread is in use until that ends.
        """
        await self._take()
        try:
            running = self._executor.submit(copy_context().run, work)
        except BaseException:
            self._give_back()
            raise
        try:
            return await asyncio.wrap_future(running)
        finally:
            if running.done():
                self._give_back()
            else:
                running.add_done_callback(partial(self._ended, asyncio.get_running_loop()))

    def close(self) -> None:
        """Wait for what runs."""
        self._executor.shutdown()

    async def _take(self) -> None:
        self.waiting += 1
        try:
            if self._free.locked():
                async with asyncio.timeout(self._patience):
                    await self._free.acquire()
            else:
                await self._free.acquire()
        except TimeoutError:
            raise BusyError(
                f"all {self._number} connections of this process to the database are in use", hint="try again"
            ) from None
        finally:
            self.waiting -= 1
        self.in_use += 1

    def _ended(self, loop: asyncio.AbstractEventLoop, _running: Future[T]) -> None:
        """Give a thread back once its work has ended, which its caller did not wait for."""
        loop.call_soon_threadsafe(self._give_back)

    def _give_back(self) -> None:
        self.in_use -= 1
        self._free.release()
