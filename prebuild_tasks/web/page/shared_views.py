"""Views that are read at most once a second for all who look at them, and what each open page of them is sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from prebuild_tasks.clock import monotonic, utcnow
from prebuild_tasks.errors import BusyError, PrebuildError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.web.api.open_streams import OpenStream
from prebuild_tasks.web.api.problems import ProblemError, problem_details
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer
from prebuild_tasks.web.page.parts import Shown, change_between, change_message, stale_message

log = get_logger(__name__)

REST = 1.0
"""Seconds from the begin of a read for an event until the next read. After a slow one, it is twice what that took."""
QUIET = 2.0
"""Seconds from the begin of a read until the next one if no event came: other things change views, too."""
SLOW = 5.0
"""Seconds after which the pages of a view are told that it is not up to date, though its read goes on."""
KEPT = 300
"""States of pages that are remembered, so that only what changed since then is sent."""
_READER = "live"
"""The key of the reads for open pages, so that they take no viewer's threads."""


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

    def change_since(self, state: str, now: Shown) -> bytes:
        """Return what a page of this state misses; everything, if the state is not known."""
        before = self._shown.get(state)
        return now.everything if before is None else change_between(before, now)


@dataclass(eq=False, slots=True)
class Watcher:
    """The pages of a stream that show the same view."""

    stream: OpenStream
    states: Collection[str]
    """What they show, each once."""
    trouble: str | None = None
    """Why they are not up to date, as they were told; empty: they are; None: they were told nothing yet."""


V = TypeVar("V")


class SharedView(Generic[V]):
    """One view, with all who look at it in this process. While no page of it is open, only visits read it."""

    _view: V

    def __init__(self, kind: LiveKind[V], read: Callable[[str], Awaitable[V]], recent: RecentStates) -> None:
        """Take what it is, what reads it with the key of who takes the threads, and what is known of its pages."""
        self._kind, self._read, self._recent = kind, read, recent
        self._watchers = dict[Viewer, set[Watcher]]()
        self._shown, self._before = dict[Viewer, Shown](), dict[Viewer, Shown]()
        """What viewers see of it, and what they saw of it as it was read before."""
        self._began, self._took, self._is_for_event = -math.inf, 0.0, False
        """The last read: its begin, the seconds that it took, and whether it was for an event."""
        self._read_at = -math.inf
        """The begin of the last read that succeeded."""
        self._good_at: datetime | None = None
        """That begin as an instant; None: none did."""
        self._trouble = ""
        """Why its last read failed, or goes on for long; empty: neither."""
        self._is_kept = False
        """Whether the reader has something to tell."""
        self._woken = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def is_in_use(self) -> bool:
        """Whether a page of it is open, or a visit may take what was read."""
        is_busy = any(task and not task.done() for task in (self._reader, self._reading))
        return is_busy or self._began > monotonic() - REST

    @property
    def is_up_to_date(self) -> bool:
        """Whether it is kept up to date for an open page."""
        return self._is_kept and not self._trouble

    def wake(self) -> None:
        """Let the view be read as soon as that may be: an event came."""
        self._woken.set()

    async def current(self, since: float, reader: str = _READER) -> V:
        """Return the view as it was at a time, or later. One read is for all who wait. Raises what reading raises.

        A read that was refused because of who asked for it first is made once more for who has waited for it.
        """
        while self._read_at < since:
            is_own = self._reading is None or self._reading.done()
            if self._reading is None or is_own:
                self._reading = asyncio.create_task(self._look(reader))
                self._reading.add_done_callback(_take_error)
            try:
                await asyncio.shield(self._reading)
            except BusyError:
                if is_own:
                    raise
        return self._view

    def seen_by(self, viewer: Viewer) -> Shown:
        """Return what a viewer sees of the view, computed once for all who see the same. Raises NotFoundError."""
        if viewer not in self._shown:
            now, before = Shown(tuple(self._kind.parts(self._view, viewer))), self._before.get(viewer)
            self._shown[viewer] = before if before and before.parts == now.parts else self._recent.keep(now)
        return self._shown[viewer]

    def seen(self, viewer: Viewer, view: V) -> Shown:
        """Return what a viewer sees of the view as it was read once. Raises NotFoundError."""
        if view is getattr(self, "_view", None):
            return self.seen_by(viewer)
        return self._recent.keep(Shown(tuple(self._kind.parts(view, viewer))))

    def join(self, viewer: Viewer, watcher: Watcher) -> None:
        """Let pages have what they miss, then each change, and the reason while they are not up to date."""
        self._watchers.setdefault(viewer, set()).add(watcher)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._keep())
        elif self._is_kept:
            self._tell(viewer, (watcher,))

    def leave(self, viewer: Viewer, watcher: Watcher) -> None:
        """End what `join` began."""
        self._watchers[viewer].remove(watcher)
        if not self._watchers[viewer]:
            del self._watchers[viewer]

    async def _keep(self) -> None:
        """Keep the view up to date while a page of it is open."""
        since = monotonic() - REST
        if self._read_at < since:
            await self._refresh(since)
        else:
            self._hand_on()
        await self._rest()
        while self._watchers:
            await self._refresh(monotonic())
            await self._rest()
        self._is_kept = self._is_for_event = False

    async def _refresh(self, since: float) -> None:
        """Read the view, and tell why if that fails. The next read has everything: nothing is lost, only late."""
        read = asyncio.ensure_future(self.current(since))
        await asyncio.wait({read}, timeout=SLOW)
        if not read.done():
            self._tell_trouble(f"reading takes longer than {SLOW:g} s")
        try:
            await read
        except Exception as error:  # noqa: BLE001 - it is told, and logged
            self._tell_trouble(_reason(error))

    def _tell_trouble(self, trouble: str) -> None:
        if self._trouble != trouble:
            log.warning("view_not_read", view=self._kind.name, error=trouble)
        self._trouble = trouble
        self._hand_on()

    async def _rest(self) -> None:
        """Wait for an event, or until it has been quiet for long.

        An event rests after the one before it, but not after a look in between: it is the first one after a quiet time.
        """
        rest = max(REST, self._kind.rest, 2 * self._took)
        if not self._is_for_event and rest == REST:
            rest = 0.0
        await asyncio.sleep(self._began + rest - monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(self._began + max(QUIET, rest) - monotonic()):
                await self._woken.wait()
        self._is_for_event = self._woken.is_set()

    async def _look(self, reader: str) -> None:
        self._woken.clear()  # an event that comes while it is read may be missing in it
        self._began, now = monotonic(), utcnow()
        try:
            view = await self._read(reader)
        finally:
            self._took = monotonic() - self._began
        self._view, self._read_at, self._good_at, self._trouble = view, self._began, now, ""
        self._before, self._shown = self._shown, {}
        self._hand_on()

    def _hand_on(self) -> None:
        """Let each page have what it misses. Those that join from now on have it at once."""
        self._is_kept = self._is_kept or bool(self._watchers)
        for viewer, watchers in self._watchers.items():
            self._tell(viewer, watchers)

    def _tell(self, viewer: Viewer, watchers: Collection[Watcher]) -> None:
        """Let pages of a viewer have what they miss. It is computed and encoded once for all of the same state."""
        name, trouble = self._kind.view_name(viewer), self._trouble
        try:
            shown = None if trouble else self.seen_by(viewer)
        except Exception as error:  # noqa: BLE001 - it is told, and logged
            shown, trouble = None, _reason(error)
        messages = dict[str, bytes]()
        for watcher in watchers:
            if shown is None:
                if watcher.trouble != trouble:
                    watcher.stream.add(stale_message(name, self._good_at, trouble), 1)
            else:
                for state in watcher.states:
                    if state == shown.state and watcher.trouble == "":
                        continue
                    if state not in messages:
                        messages[state] = change_message(name, self._change_since(viewer, state, shown))
                    watcher.stream.add(messages[state], 1)
                watcher.states = (shown.state,)
            watcher.trouble = trouble

    def _change_since(self, viewer: Viewer, state: str, now: Shown) -> bytes:
        for before in (now, self._before.get(viewer)):
            if before and before.state == state:
                return change_between(before, now)
        return self._recent.change_since(state, now)


def _reason(error: Exception) -> str:
    """Return an error as people are told it. Of one that nobody expected, the log says more."""
    if not isinstance(error, PrebuildError | ProblemError):
        log.error("view_not_shown", exc_info=error)
    return problem_details(error).detail


def _take_error(read: asyncio.Task[None]) -> None:
    """Note that an error was seen: those who waited for the read may have gone away."""
    if not read.cancelled():
        read.exception()
