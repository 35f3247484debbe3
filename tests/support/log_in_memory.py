"""Streams of a log in memory, without a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from operator import attrgetter

from prebuild_tasks.errors import EventsGoneError, UnreachableError
from prebuild_tasks.web.api.catching_up import Missed
from prebuild_tasks.web.api.streams import EventStreams, ReadLog


@dataclass(frozen=True)
class Event:
    id: int
    pool: str = "a"


@dataclass(frozen=True)
class Of:
    """Sees the events of one pool, or all."""

    pool: str = ""

    def sees(self, event: Event) -> bool:
        return self.pool in ("", event.pool)


class Log:
    """A log in memory, which counts how often it is read."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.reads, self.encoded = 0, 0
        self.fails = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.missed_max = 1000
        """Events that a read of who catches up goes through."""
        self.missed_reads: list[int] = []
        """Numbers after which they were read."""
        self.may_catch_up = asyncio.Event()
        self.may_catch_up.set()

    def write(self, *pools: str) -> None:
        for pool in pools:
            self.events.append(Event(len(self.events) + 1, pool))

    async def latest(self) -> int:
        await asyncio.sleep(0)
        return len(self.events)

    async def after(self, position: int, most: int) -> Sequence[Event]:
        self.reads += 1
        await self.may_answer.wait()
        if self.fails:
            raise UnreachableError("the database is away")
        await asyncio.sleep(0)
        if position > len(self.events):
            raise EventsGoneError("the database was restored", oldest=1)
        return self.events[position:][:most]

    async def missed(self, selection: Of, after: int) -> Missed:
        self.missed_reads.append(after)
        await self.may_catch_up.wait()
        await asyncio.sleep(0)
        events = self.events[after:][: self.missed_max]
        return Missed(b"".join(self.encode(event) for event in events if selection.sees(event)), events[-1].id)

    def encode(self, event: Event) -> bytes:
        self.encoded += 1
        return b"%d " % event.id


class Stage:
    """Streams of a log, and what ends them."""

    def __init__(self) -> None:
        self.log, self.stopping = Log(), asyncio.Event()
        self.streams = EventStreams(
            ReadLog(self.log.latest, self.log.after, attrgetter("id"), self.log.encode, self.log.missed), self.stopping
        )
        self.listeners, self.cut = 0, 0

    @asynccontextmanager
    async def listening(self, pool: str = "", after: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        task = asyncio.current_task()
        assert task

        def cut() -> None:
            self.cut += 1
            task.cancel()

        self.listeners += 1
        async with aclosing(self.streams.listen(Of(pool), after, self.stopping.wait(), cut)) as stream:
            yield stream
        self.listeners -= 1


async def ids(stream: AsyncIterator[bytes], number: int) -> list[int]:
    """Return the numbers of the next events of a stream."""
    read: list[int] = []
    async with asyncio.timeout(10):
        while len(read) < number:
            read += [int(word) for word in (await anext(stream)).split() if word != b":"]
    return read


def staged(body: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        stage = Stage()
        await body(stage)
        stage.stopping.set()

    asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)
