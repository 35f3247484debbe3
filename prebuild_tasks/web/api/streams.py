"""Live streams of events: one reader for all listeners of a process, and one encoding for all who see the same.

Who listens holds no connection and no thread. A listener is first served what it missed, in turn with others that catch
up, and then gets what the reader of the process reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic

from prebuild_tasks.errors import EventsGoneError, PrebuildError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.web.api import open_streams
from prebuild_tasks.web.api.catching_up import CatchingUp, E, Missed, S
from prebuild_tasks.web.api.open_streams import OpenStream, OpenStreams

log = get_logger(__name__)

PAUSE = 0.1
"""Seconds between two reads while somebody listens. Events get their numbers as often."""
READ_MAX = 1000
"""Events of one read."""
_GLANCE = 1.0
"""Seconds after which a listener that waits for its turn looks whether its stream is to end."""


@dataclass(frozen=True, slots=True)
class ReadLog(Generic[S, E]):
    """How the log is read."""

    latest: Callable[[], Awaitable[int]]
    """Returns the number of the newest event."""
    after: Callable[[int, int], Awaitable[Sequence[E]]]
    """Returns the events after a number, in order, at most so many. Raises EventsGoneError if it cannot go on there."""
    number: Callable[[E], int]
    """Returns the number of an event."""
    encode: Callable[[E], bytes]
    """Returns an event as a stream has it."""
    missed: Callable[[S, int], Awaitable[Missed]]
    """Returns the next of the events after a number that a selection sees. Raises EventsGoneError as `after` does."""


@dataclass(eq=False, slots=True, kw_only=True)
class _Listener(OpenStream):
    """One stream of events. While it catches up, `behind` counts the events that came since it was last sent some."""

    after: int
    """The number up to which its client has read, perhaps further than the reader of the process."""
    catches_up: bool = True
    """It reads what comes by itself: until then nothing is kept for it."""

    def add(self, chunk: bytes, number: int) -> None:
        """Let a chunk with so many events be sent, or end the stream of a client that does not take them."""
        if self.catches_up and not self.is_sending:
            return  # it waits for its turn, which is not its client's fault
        if self.catches_up:
            self.fall_behind(number)
        else:
            OpenStream.add(self, chunk, number)  # a class with slots is made anew, so that super() would not find it


class EventStreams(OpenStreams[S, _Listener], Generic[S, E]):
    """The streams of the events of one event loop."""

    def __init__(self, read: ReadLog[S, E], stopping: asyncio.Event) -> None:
        """Take how the log is read, and what ends every stream."""
        super().__init__(stopping)
        self._read = read
        self._catching_up: CatchingUp[S] = CatchingUp(read.missed)
        self._position = 0
        """The number up to which events were handed to the listeners."""
        self._starting = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    async def listen(
        self,
        selection: S,
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

    async def _chunks(self, selection: S, listener: _Listener) -> AsyncIterator[bytes]:
        """Yield what a listener missed, and then what comes."""
        await self._join(selection, listener)
        async for chunk in self._missed(selection, listener):
            yield chunk
        async for chunk in listener.coming():
            yield chunk

    async def _join(self, selection: S, listener: _Listener) -> None:
        """Begin to hand events to a listener."""
        async with self._starting:
            if self._reader is None or self._reader.done():
                self._position = await self._read.latest()
                self._reader = asyncio.create_task(self._read_on())
            self._enter(selection, listener)

    async def _missed(self, selection: S, listener: _Listener) -> AsyncIterator[bytes]:
        """Yield what a listener missed, until it is where the reader of the process is, and comments while it waits."""
        while listener.after < self._position and not listener.is_over:
            with self._catching_up.next_read(selection, listener.after) as read:
                while not read.done() and not listener.is_over:
                    await asyncio.wait({read}, timeout=min(_GLANCE, open_streams.HEARTBEAT))
                    if not read.done() and listener.is_silent:
                        yield _heartbeat(listener.after)
                if not read.done():
                    return
                missed = await read
            if missed.chunk:
                yield missed.chunk
            listener.after, listener.behind = missed.last, 0
        # Nothing was awaited since the comparison, so that no event comes between.
        listener.catches_up = False

    async def _read_on(self) -> None:
        while self._listeners:
            try:
                await self._hand_on()
            except EventsGoneError as error:
                await self._begin_anew(error)
            except PrebuildError as error:  # they go on listening: nothing is lost, only late
                log.warning("events_not_read", error=error.message, streams=self.number)
            except Exception:
                log.exception("events_not_read", streams=self.number)
            await asyncio.sleep(PAUSE)

    async def _begin_anew(self, error: EventsGoneError) -> None:
        """End all streams, which the log does not have the position of any more: their clients ask for theirs."""
        try:
            position = await self._read.latest()
        except PrebuildError:
            return  # the next read tells the same
        log.warning("streams_ended", error=error.message, streams=self.number)
        self._position = position
        for listener in self._everyone():
            listener.end()

    async def _hand_on(self) -> None:
        """Hand what is new to all who see it."""
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

    def _heartbeat(self, listener: _Listener) -> bytes:
        return b"" if listener.catches_up else _heartbeat(max(listener.after, self._position))


def _heartbeat(number: int) -> bytes:
    """Return a comment, with the number up to which there is nothing more for the client: it goes on there."""
    return b":\nid: %d\n\n" % number
