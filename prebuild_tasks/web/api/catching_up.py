"""Streams that catch up: they read the log in turn, one at a time, and those that miss the same share what is read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)


class Selection(Hashable, Protocol[E_contra]):
    """What a listener sees of the log, by its token and its filters. Listeners with equal ones share all work."""

    def sees(self, event: E_contra) -> bool:
        """Return whether the event is part of it."""


S = TypeVar("S", bound=Selection[Any])


class Missed(NamedTuple):
    """Some of the events that a listener missed."""

    chunk: bytes
    """The events as a stream has them; empty: there are none of them here."""
    last: int
    """The number up to which the log was read for it."""


@dataclass(eq=False, slots=True)
class _Read:
    """A read of the log that has its turn, or waits for it."""

    task: asyncio.Task[Missed]
    waiting: int = 0
    """Listeners that wait for it."""


class CatchingUp(Generic[S]):
    """The reads for those that catch up in one event loop. One that needs many waits for its turn before each."""

    def __init__(self, read: Callable[[S, int], Awaitable[Missed]]) -> None:
        """Take how the next events after a number are read. A read is short, whatever it finds."""
        self._read = read
        self._turn = asyncio.Lock()  # who waits longest is next
        self._reads: dict[tuple[S, int], _Read] = {}

    @contextmanager
    def next_read(self, selection: S, after: int) -> Iterator[asyncio.Task[Missed]]:
        """Ask for the next events after a number. A read that nobody waits for any more is given up."""
        key = (selection, after)
        read = self._reads.get(key)
        if read is None or read.task.done():
            read = self._reads[key] = _Read(asyncio.create_task(self._in_turn(selection, after)))
        read.waiting += 1
        try:
            yield read.task
        finally:
            read.waiting -= 1
            if not read.waiting:
                read.task.cancel()  # it does nothing to one that is done
                if self._reads.get(key) is read:
                    del self._reads[key]

    async def _in_turn(self, selection: S, after: int) -> Missed:
        async with self._turn:
            return await self._read(selection, after)
