"""The threads in which requests use the database: as many as connections, of which few work while calls are quick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from threading import get_ident
from typing import TypeVar

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import BusyError, UnreachableError

FEW = 3
"""Threads for calls that are quick. More of them only take the interpreter from each other and from the event loop:
with ten, 32 clients cost a third more CPU per claim."""
QUICK = 0.1
"""Seconds. A call that takes longer waits for the database, so the next ones get the other threads."""
PATIENCE = 5.0
"""Seconds that a request waits for a thread."""
LONGEST = 30.0
"""Seconds for which a caller waits for its call: a server that is halted answers no statement, and ends none."""
_LOOK_AGAIN = 0.5
"""Seconds after which a call that waits for the few threads is given to the others, if those have become slow."""

T = TypeVar("T")


class _Pool:
    """Threads, when each began with what it does, and how many calls wait for one."""

    def __init__(self, number: int) -> None:
        self.threads = ThreadPoolExecutor(number, thread_name_prefix="request")
        self.began: dict[int, float] = {}
        """Times by thread."""
        self.waiting: set[object] = set()
        """A mark for each call that has not begun."""

    def submit(self, context: Context, work: Callable[[], T]) -> tuple[Future[T], object]:
        """Give a call to the threads. Returns its mark, too."""
        mark = object()
        self.waiting.add(mark)
        return self.threads.submit(context.run, self._run, work, mark), mark

    def is_slow(self) -> bool:
        """Return whether a call takes long."""
        began = list(self.began.values())
        return bool(began) and min(began) < monotonic() - QUICK

    def _run(self, work: Callable[[], T], mark: object) -> T:
        self.waiting.discard(mark)
        thread = get_ident()
        self.began[thread] = monotonic()
        try:
            return work()
        finally:
            del self.began[thread]


class _NotBegunError(Exception):
    """No thread was free in time."""


class Threads:
    """Runs calls in threads. Use it in one event loop."""

    def __init__(self, number: int, patience: float = PATIENCE, longest: float = LONGEST) -> None:
        """Take the number of threads, the seconds that a call waits for one, and those that its caller waits for it."""
        few = min(FEW, number)
        self._number, self._patience, self._longest = number, patience, longest
        self._few = _Pool(few)
        self._others = _Pool(number - few) if number > few else self._few
        self._pools = {self._few, self._others}

    @property
    def in_use(self) -> int:
        """Threads that run a call, also one whose caller has gone away."""
        return sum(len(pool.began) for pool in self._pools)

    @property
    def waiting(self) -> int:
        """Calls that wait for a thread."""
        return sum(len(pool.waiting) for pool in self._pools)

    async def call(self, work: Callable[[], T]) -> T:
        """Call a function in a thread, and in the context of the caller.

        Raises what it raises, BusyError if no thread was free in time, and UnreachableError if the call takes too long.
        Then, as after a cancellation, its thread is left to its work.
        """
        left = self._patience
        while left > 0:
            pool, wait = (self._others, left) if self._few.is_slow() else (self._few, min(left, _LOOK_AGAIN))
            try:
                return await self._call(pool, work, wait)
            except _NotBegunError:
                left -= wait
        raise BusyError(f"all {self._number} connections of this process to the database are in use", hint="try again")

    def close(self) -> None:
        """Wait for what runs."""
        for pool in self._pools:
            pool.threads.shutdown()

    async def _call(self, pool: _Pool, work: Callable[[], T], wait: float) -> T:
        """Call a function in a thread of the pool. Raises _NotBegunError if none was free after `wait` seconds."""
        running, mark = pool.submit(copy_context(), work)
        loop, result = asyncio.get_running_loop(), asyncio.wrap_future(running)
        is_late = is_stuck = False

        def give_up() -> None:
            nonlocal is_late
            is_late = running.cancel()  # in vain if it has begun
            if not is_late:
                timers.append(loop.call_later(self._longest, leave))

        def leave() -> None:
            nonlocal is_stuck
            is_stuck = True
            result.cancel()

        timers = [loop.call_later(wait, give_up)]
        try:
            return await result
        except asyncio.CancelledError:
            if is_late:
                raise _NotBegunError from None
            if is_stuck:
                raise UnreachableError(f"the database did not answer within {self._longest:g} s") from None
            raise
        finally:
            for timer in timers:
                timer.cancel()
            pool.waiting.discard(mark)
