"""Live streams of events: one reader for all listeners of a process, and one encoding for all who see the same.

Who listens holds no connection and no thread. A listener is first served what it missed, by reads of its own, and then
gets what the reader of the process reads.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from prebuild_tasks.errors import EventsGoneError, PrebuildError
from prebuild_tasks.events import LoggedEvent
from prebuild_tasks.json_views import fields_of
from prebuild_tasks.logs import get_logger
from prebuild_tasks.web.api.open_streams import OpenStream, OpenStreams

log = get_logger(__name__)

PAUSE = 0.1
"""Seconds between two reads while somebody listens. Events get their numbers as often."""
READ_MAX = 1000
"""Events of one read."""


E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)


class Selection(Hashable, Protocol[E_contra]):
    """What a listener sees of the log, by its token and its filters. Listeners with equal ones share all work."""

    def sees(self, event: E_contra) -> bool:
        """Return whether the event is part of it."""


@dataclass(frozen=True, slots=True)
class ReadLog(Generic[E]):
    """How the log is read."""

    latest: Callable[[], Awaitable[int]]
    """Returns the number of the newest event."""
    after: Callable[[int, int], Awaitable[Sequence[E]]]
    """Returns the events after a number, in order, at most so many. Raises EventsGoneError if it cannot go on there."""
    number: Callable[[E], int]
    """Returns the number of an event."""
    encode: Callable[[E], bytes]
    """Returns an event as a stream has it."""


@dataclass(eq=False, slots=True, kw_only=True)
class _Listener(OpenStream):
    """One stream of events."""

    after: int
    """The number of the last event that its client has, which may have read further than the reader of the process."""


class EventStreams(OpenStreams[Selection[E], _Listener], Generic[E]):
    """The streams of the events of one event loop."""

    def __init__(self, read: ReadLog[E], stopping: asyncio.Event) -> None:
        """Take how the log is read, and what ends every stream."""
        super().__init__(stopping)
        self._read = read
        self._position = 0
        """The number up to which events were handed to the listeners."""
        self._starting = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    async def listen(
        self,
        selection: Selection[E],
        after: int,
        until: Coroutine[object, object, object],
        cut: Callable[[], object],
    ) -> AsyncGenerator[bytes, None]:
        """Yield the events after a number as they come.

        It ends once `until` does, when the listener is too far behind, or when what it missed cannot be read. Before
        the process stops, it asks the client to come back. `cut` breaks the connection of a client that takes nothing.
        """
        listener = _Listener(cut=cut, after=after)
        following = self._follow(selection, listener, self._chunks(selection, listener), until)
        async with aclosing(following) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _chunks(self, selection: Selection[E], listener: _Listener) -> AsyncIterator[bytes]:
        """Yield what a listener missed, and then what comes."""
        start = await self._join(selection, listener)
        async for chunk in self._missed(selection, start, listener):
            yield chunk
        async for chunk in listener.coming():
            yield chunk

    async def _join(self, selection: Selection[E], listener: _Listener) -> int:
        """Begin to hand events to a listener, and return the number of the last one that it will not get this way."""
        async with self._starting:
            if self._reader is None or self._reader.done():
                self._position = await self._read.latest()
                self._reader = asyncio.create_task(self._read_on())
            # Nothing is awaited between these lines, so that no event comes between the position and the listener.
            self._enter(selection, listener)
            return self._position

    async def _missed(self, selection: Selection[E], end: int, listener: _Listener) -> AsyncIterator[bytes]:
        """Yield what a listener has missed of the events up to and including `end`."""
        after = listener.after
        while after < end and not listener.is_over:
            events = await self._read.after(after, READ_MAX)
            wanted = [event for event in events if self._read.number(event) <= end]
            if chunk := b"".join(self._read.encode(event) for event in wanted if selection.sees(event)):
                yield chunk
            if len(wanted) < READ_MAX:
                return
            after = self._read.number(wanted[-1])

    async def _read_on(self) -> None:
        while self._listeners:
            try:
                await self._hand_on()
            except EventsGoneError as error:
                await self._begin_anew(error)
            except PrebuildError as error:  # they go on listening: nothing is lost, only late
                log.warning("events_not_read", error=error.message, streams=len(self._everyone()))
            except Exception:
                log.exception("events_not_read", streams=len(self._everyone()))
            await asyncio.sleep(PAUSE)

    async def _begin_anew(self, error: EventsGoneError) -> None:
        """End all streams, which the log does not have the position of any more: their clients ask for theirs."""
        try:
            position = await self._read.latest()
        except PrebuildError:
            return  # the next read tells the same
        log.warning("streams_ended", error=error.message, streams=len(self._everyone()))
        self._position = position
        for listener in self._everyone():
            listener.end()

    async def _hand_on(self) -> None:
        """Hand what is new to all who see it, and a comment to those who have heard nothing for long."""
        events = {self._read.number(event): event for event in await self._read.after(self._position, READ_MAX)}
        self._position = max(events, default=self._position)
        encoded = dict[int, bytes]()
        for selection, listeners in self._listeners.items():
            seen = [number for number, event in events.items() if selection.sees(event)]
            if not seen:
                continue
            for number in seen:
                if number not in encoded:
                    encoded[number] = self._read.encode(events[number])
            chunk = b"".join(encoded[number] for number in seen)
            for listener in listeners:
                if listener.after < seen[0]:
                    listener.add(chunk, len(seen))
                elif late := [encoded[number] for number in seen if number > listener.after]:
                    listener.add(b"".join(late), len(late))
        self._break_silence()


def number_of(logged: LoggedEvent) -> int:
    """Return the number of an event."""
    return logged.event.id


def encode_event(logged: LoggedEvent) -> bytes:
    """Return an event as a stream has it. It is ASCII: many clients take every line break of Unicode for one."""
    event = logged.event
    text = json.dumps(fields_of(event), separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.kind}\ndata: {text}\n\n".encode("ascii")
