"""The streams of an event loop: what each is to be sent, and the ways in which it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.logs import get_logger

log = get_logger(__name__)

BEHIND_MAX = 1000
"""Events that a listener may be behind. Its stream ends then, and it resumes after the last one that it got."""
HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that proxies do not take the connection for dead."""
RETRY_S = (1.0, 5.0)
"""Seconds, by chance between these, after which a client is asked to come back from a process that stops: not all of
them at once."""
_HEARTBEAT_CHECK = 0.5
"""Seconds between two looks at who has heard nothing for long."""
COMMENT = b":\n\n"
"""A heartbeat."""


@dataclass(eq=False, slots=True, kw_only=True)
class OpenStream:
    """One stream."""

    cut: Callable[[], object]
    """Breaks the connection of a client that takes nothing."""
    behind_max: int = BEHIND_MAX
    chunks: list[bytes] = field(default_factory=list)
    behind: int = 0
    """Events in the chunks that are not sent yet."""
    sent_at: float = field(default_factory=monotonic)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_sending: bool = False
    is_over: bool = False

    @property
    def is_silent(self) -> bool:
        """Whether nothing was sent for so long that a comment is due."""
        return self.sent_at < monotonic() - HEARTBEAT

    def add(self, chunk: bytes, number: int) -> None:
        """Let a chunk with so many events be sent, or end the stream of a client that does not take them."""
        self.chunks.append(chunk)
        self.wake.set()
        self.fall_behind(number)

    def fall_behind(self, number: int) -> None:
        """Note that its client has so many events more to take."""
        self.behind += number
        if self.behind > self.behind_max and not self.is_over:
            self.end()
            if self.is_sending:
                self.cut()  # a client that takes nothing would keep it for ever

    def take(self) -> bytes:
        """Return what is to be sent."""
        self.wake.clear()
        taken = b"".join(self.chunks)
        self.chunks.clear()
        self.behind = 0
        return taken

    def end(self) -> None:
        """Let the stream end."""
        self.is_over = True
        self.wake.set()

    async def coming(self) -> AsyncIterator[bytes]:
        """Yield what is to be sent, as it comes, until the stream ends."""
        while not self.is_over:
            await self.wake.wait()
            if self.chunks and not self.is_over:
                yield self.take()


S = TypeVar("S", bound=Hashable)
L = TypeVar("L", bound=OpenStream)


class OpenStreams(Generic[S, L]):
    """The streams of one event loop, by what they select."""

    def __init__(self, stopping: asyncio.Event) -> None:
        """Take what ends every stream."""
        self._stopping = stopping
        self._listeners: dict[S, set[L]] = {}
        self._heartbeats: asyncio.Task[None] | None = None

    @property
    def number(self) -> int:
        """How many streams there are."""
        return len(self._everyone())

    async def _follow(
        self, selection: S, listener: L, chunks: AsyncIterator[bytes], until: Coroutine[object, object, object]
    ) -> AsyncGenerator[bytes, None]:
        """Yield the chunks of a listener until `until` ends, or it is too far behind, or they cannot be read.

        Before the process stops, it asks the client to come back.
        """
        watcher = asyncio.create_task(_settled(until))
        watcher.add_done_callback(lambda _: listener.end())
        try:
            await asyncio.sleep(0)  # it begins before it can be cancelled
            async for chunk in chunks:
                listener.is_sending, listener.sent_at = True, monotonic()
                yield chunk
                listener.is_sending = False
            if self._stopping.is_set():
                yield b"retry: %d\n\n" % round(1000 * random.uniform(*RETRY_S))  # noqa: S311 - no secret
        except PrebuildError as error:
            log.warning("stream_ended", error=error.message)
        finally:
            watcher.cancel()
            self._leave(selection, listener)

    def _enter(self, selection: S, listener: L) -> None:
        self._listeners.setdefault(selection, set()).add(listener)
        if self._heartbeats is None or self._heartbeats.done():
            self._heartbeats = asyncio.create_task(self._send_heartbeats())

    def _leave(self, selection: S, listener: L) -> None:
        left = self._listeners.get(selection, set())
        left.discard(listener)
        if not left:
            self._listeners.pop(selection, None)

    def _heartbeat(self, _listener: L) -> bytes:
        """Return what a listener gets that has heard nothing for long; nothing: it gets comments in another way."""
        return COMMENT

    async def _send_heartbeats(self) -> None:
        """Let those who have heard nothing for long be sent something, also while nothing can be read."""
        while self._listeners:
            for listener in self._everyone():
                if listener.is_silent and not listener.chunks and (comment := self._heartbeat(listener)):
                    listener.add(comment, 0)
            await asyncio.sleep(min(_HEARTBEAT_CHECK, HEARTBEAT))

    def _everyone(self) -> list[L]:
        return [listener for listeners in self._listeners.values() for listener in listeners]


async def _settled(work: Coroutine[object, object, object]) -> None:
    """Wait until some work ends in whatever way."""
    with suppress(PrebuildError):
        await work
