"""Views that are read at most once a second for all who watch them, and what each of their pages is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Generic, TypeVar

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.web.api.open_streams import OpenStream, OpenStreams
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer
from prebuild_tasks.web.page.parts import Shown, change_message

log = get_logger(__name__)

REST = 1.0
"""Seconds from the begin of a read for an event until the next read. After a slow one, it is twice what that took."""
QUIET = 2.0
"""Seconds from the begin of a read until the next one if no event came: other things change views, too."""
BEHIND_MAX = 10
"""Changes that a page may be behind. Its stream ends then, and it comes back."""
KEPT = 100
"""States of pages that are remembered, so that only what changed since then is sent."""


class RecentStates:
    """The states that pages of this process had just now."""

    def __init__(self) -> None:
        """Begin without any."""
        self._shown = dict[str, Shown]()

    def keep(self, shown: Shown) -> Shown:
        """Remember what a page shows. Returns it."""
        self._shown.pop(shown.state, None)
        self._shown[shown.state] = shown
        if len(self._shown) > KEPT:
            del self._shown[next(iter(self._shown))]
        return shown

    def message(self, state: str, now: Shown) -> bytes:
        """Return what a page of this state is sent first."""
        before = self._shown.get(state)
        return now.message if before is None else change_message(before, now)


V = TypeVar("V")


class SharedView(OpenStreams[Viewer, OpenStream], Generic[V]):
    """One view, with all who watch it in this process. Nothing is read while nobody does."""

    _view: V

    def __init__(
        self, kind: LiveKind[V], read: Callable[[], Awaitable[V]], recent: RecentStates, stopping: asyncio.Event
    ) -> None:
        """Take what it is, how it is read, what is known of its pages, and what ends every stream."""
        super().__init__(stopping)
        self._kind, self._read, self._recent = kind, read, recent
        self._shown = dict[Viewer, Shown]()
        """What each viewer's pages show."""
        self._read_at, self._took, self._is_for_event = 0.0, 0.0, False
        self._woken = asyncio.Event()
        self._starting = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    @property
    def is_watched(self) -> bool:
        """Whether somebody watches it, or it is still read for somebody who did."""
        return self._starting.locked() or not (self._reader is None or self._reader.done())

    def wake(self) -> None:
        """Let the view be read as soon as that may be: an event came."""
        self._woken.set()

    async def check(self, viewer: Viewer) -> None:
        """Begin to read the view. Raises NotFoundError if the viewer sees nothing of it, or what reading raises."""
        async with self._starting:
            await self._begin()
            self._show(viewer)

    async def listen(
        self, viewer: Viewer, state: str, until: Coroutine[object, object, object], cut: Callable[[], object]
    ) -> AsyncGenerator[bytes, None]:
        """Yield what a page that has this state misses, and then its changes.

        It ends as a stream of events does: see `EventStreams.listen`.
        """
        listener = OpenStream(cut=cut, behind_max=BEHIND_MAX)
        following = self._follow(viewer, listener, self._chunks(viewer, state, listener), until)
        async with aclosing(following) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _chunks(self, viewer: Viewer, state: str, listener: OpenStream) -> AsyncIterator[bytes]:
        async with self._starting:
            await self._begin()
            # Nothing is awaited between these lines, so that no change comes between the state and the listener.
            shown = self._show(viewer)
            self._enter(viewer, listener)
        yield self._recent.message(state, shown)
        async for chunk in listener.coming():
            yield chunk

    async def _begin(self) -> None:
        """Read the view, unless that is done anyway."""
        if self._reader is None or self._reader.done():
            self._shown.clear()
            self._is_for_event = False
            await self._look()
            self._reader = asyncio.create_task(self._read_on())

    def _show(self, viewer: Viewer) -> Shown:
        """Return what a viewer's pages show by now."""
        if viewer not in self._shown:
            self._shown[viewer] = Shown(tuple(self._kind.parts(self._view, viewer)))
        return self._shown[viewer]

    async def _read_on(self) -> None:
        while True:
            await self._rest()
            if not self._listeners:
                return
            try:
                await self._look()
                self._hand_on()
            except PrebuildError as error:  # they go on listening: the next read has everything
                log.warning("view_not_read", view=self._kind.name, error=error.message)
            except Exception:
                log.exception("view_not_read", view=self._kind.name)

    async def _rest(self) -> None:
        """Wait for an event, or until it has been quiet for long.

        An event rests after the one before it, but not after a look in between: it is the first one after a quiet time.
        """
        rest = max(REST, self._kind.rest, 2 * self._took)
        if not self._is_for_event and rest == REST:
            rest = 0.0
        await asyncio.sleep(self._read_at + rest - monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(self._read_at + max(QUIET, rest) - monotonic()):
                await self._woken.wait()
        self._is_for_event = self._woken.is_set()

    async def _look(self) -> None:
        self._woken.clear()  # an event that comes while it is read may be missing in it
        self._read_at = monotonic()
        self._view = await self._read()
        self._took = monotonic() - self._read_at

    def _hand_on(self) -> None:
        """Send to each viewer's pages what changed. It is computed and encoded once for all of them."""
        before, self._shown = self._shown, {}
        for viewer, listeners in self._listeners.items():
            try:
                now = self._show(viewer)
            except PrebuildError:  # the page says why, when it comes back
                for listener in listeners:
                    listener.end()
                continue
            old = before.get(viewer)
            if old is not None and old.parts == now.parts:
                self._shown[viewer] = old
                continue
            self._recent.keep(now)
            chunk = now.message if old is None else change_message(old, now)
            for listener in listeners:
                listener.add(chunk, 1)
