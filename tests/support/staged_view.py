"""A view in memory, with the pages that are open on it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from prebuild_tasks.access import EVERYTHING, Reach, Scope
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import BusyError, NotFoundError, UnreachableError
from prebuild_tasks.web.api.open_streams import OpenStream
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.shared_views import RecentStates, SharedView, Watcher

ALL = Viewer(reach=EVERYTHING, scope=Scope.ADMIN)
SOME = Viewer(reach=Reach(organization="acme"), scope=Scope.READ)


class Page:
    """An open page, which takes what its stream sends when it is asked to."""

    def __init__(self, stream: OpenStream) -> None:
        self.stream = stream
        self._chunks, self._came = stream.coming(), list[Any]()

    async def next(self, event: str = "change") -> dict[str, Any]:
        """Return the next message, which is such an event."""
        while not self._came:
            text = (await anext(self._chunks)).decode()
            self._came = [message.split("\n") for message in text.split("\n\n") if message.startswith("event: ")]
        name, data = self._came.pop(0)
        assert name == f"event: {event}", data
        view, body = json.loads(data.removeprefix("data: "))
        assert view == "kind=rows"
        return dict(body)


class Stage:
    """A view in memory."""

    def __init__(self, rest: float = 0.0) -> None:
        self.rows = {"a": 1, "b": 1}
        self.reads = list[float]()
        """The times at which they began."""
        self.computed = Counter[Viewer]()
        self.fails, self.hidden_from, self.takes = False, set[Viewer](), 0.0
        self.refused = set[str]()
        """The readers whose allowance is in use."""
        kind: LiveKind[dict[str, int]] = LiveKind(name="rows", read=lambda _: {}, parts=self.parts, rest=rest)
        self.recent = RecentStates()
        self.view = SharedView(kind, self.read, self.recent)

    async def read(self, reader: str) -> dict[str, int]:
        self.reads.append(monotonic())
        await asyncio.sleep(self.takes)
        if reader in self.refused:
            raise BusyError("all connections are in use")
        if self.fails:
            raise UnreachableError("the database is away")
        return dict(self.rows)

    def parts(self, rows: dict[str, int], viewer: Viewer) -> Sequence[Part]:
        self.computed[viewer] += 1
        if viewer in self.hidden_from:
            raise NotFoundError("there is no such thing")
        return [Part(name, f"{name}{value}", "list") for name, value in rows.items() if viewer == ALL or name == "a"]

    @asynccontextmanager
    async def watched(self, viewer: Viewer = ALL, *states: str) -> AsyncIterator[Page]:
        """Open a page that shows these states, by default an unknown one."""
        stream = OpenStream(cut=bool, behind_max=10)
        watcher = Watcher(stream, states or ("",))
        self.view.join(viewer, watcher)
        yield Page(stream)
        self.view.leave(viewer, watcher)

    def change(self, **rows: int) -> None:
        self.rows |= rows
        self.view.wake()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await asyncio.sleep(0.01)


def staged(body: Callable[[Stage], Awaitable[None]], rest: float = 0.0) -> None:
    async def run() -> None:
        async with asyncio.timeout(30):
            await body(Stage(rest))

    asyncio.run(run())


def html(change: dict[str, Any]) -> list[str]:
    return [part["html"] for part in change["parts"]]
