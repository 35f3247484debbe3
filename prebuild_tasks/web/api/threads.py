"""The threads in which requests use the database: as many as connections, of which few work while calls are quick."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from itertools import count
from typing import TypeVar

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import BusyError

FEW = 3
"""Calls at a time while all are quick. More of them only take the interpreter from each other and from the event loop:
with ten, 32 clients cost a third more CPU per claim."""
QUICK = 0.1
"""Seconds. A call that takes longer waits for the database, so the others get the remaining threads."""
PATIENCE = 5.0
"""Seconds that a request waits for a thread."""

T = TypeVar("T")


class Threads:
    """A bounded number of threads. Use it in one event loop."""

    def __init__(self, number: int, patience: float = PATIENCE) -> None:
        """Take the number of threads, and the seconds that a call waits for one."""
        self._number, self._patience = number, patience
        self._executor = ThreadPoolExecutor(number, thread_name_prefix="request")
        self._numbers = count()
        self._began: dict[int, float] = {}
        """When each call that runs began, the oldest first."""
        self._waiters: deque[asyncio.Future[int]] = deque()
        """Those who wait for a thread, which is given to them with the number of their call."""
        self._looks_again: asyncio.TimerHandle | None = None

    @property
    def in_use(self) -> int:
        """Threads in use."""
        return len(self._began)

    @property
    def waiting(self) -> int:
        """Calls that wait for a thread."""
        return len(self._waiters)

    async def call(self, work: Callable[[], T]) -> T:
        """Call a function in a thread. Raises what it raises, and BusyError if no thread was free in time.

        A caller that is canceled leaves the thread to its work, and the thread is in use until that ends.
        """
        number = await self._take()
        try:
            running = self._executor.submit(copy_context().run, work)
        except BaseException:
            self._give_back(number)
            raise
        try:
            return await asyncio.wrap_future(running)
        finally:
            if running.done():
                self._give_back(number)
            else:
                running.add_done_callback(partial(self._ended, asyncio.get_running_loop(), number))

    def close(self) -> None:
        """Wait for what runs."""
        self._executor.shutdown()

    async def _take(self) -> int:
        """Wait for a thread, and return the number of the call that has it."""
        if len(self._began) < self._limit():
            return self._begin()
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._look_later()
        try:
            async with asyncio.timeout(self._patience):
                return await waiter
        except BaseException as error:
            with suppress(ValueError):
                self._waiters.remove(waiter)
            if waiter.done() and not waiter.cancelled():  # it got one in the same moment
                self._give_back(await waiter)
            if isinstance(error, TimeoutError):
                raise BusyError(
                    f"all {self._number} connections of this process to the database are in use", hint="try again"
                ) from None
            raise

    def _limit(self) -> int:
        oldest = next(iter(self._began.values()), None)
        is_slow = oldest is not None and oldest < monotonic() - QUICK
        return self._number if is_slow else min(FEW, self._number)

    def _begin(self) -> int:
        number = next(self._numbers)
        self._began[number] = monotonic()
        return number

    def _give_back(self, number: int) -> None:
        del self._began[number]
        self._admit()

    def _ended(self, loop: asyncio.AbstractEventLoop, number: int, _running: Future[T]) -> None:
        """Give a thread back once its work has ended, which its caller did not wait for."""
        with suppress(RuntimeError):  # the loop may have ended before
            loop.call_soon_threadsafe(self._give_back, number)

    def _admit(self) -> None:
        """Give free threads to those who wait."""
        while self._waiters and len(self._began) < self._limit():
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(self._begin())

    def _look_later(self) -> None:
        """Look for slow calls as long as somebody waits: nothing else tells that one has become slow."""
        if self._looks_again is None:
            self._looks_again = asyncio.get_running_loop().call_later(QUICK, self._look)

    def _look(self) -> None:
        self._looks_again = None
        self._admit()
        if self._waiters:
            self._look_later()
