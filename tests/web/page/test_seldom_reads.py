"""A view that is read at a cost is read seldom, whatever happens."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import pairwise

import pytest

from prebuild_tasks.access import EVERYTHING, Scope
from prebuild_tasks.clock import monotonic
from prebuild_tasks.web.page import shared_views
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.shared_views import RecentStates, SharedView

REST = 0.5


def test_events_do_not_hasten_a_view_that_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "REST", 0.01)
    monkeypatch.setattr(shared_views, "QUIET", 0.02)
    reads = list[float]()

    async def read() -> int:
        reads.append(monotonic())
        return len(reads)

    async def watch() -> None:
        stopping = asyncio.Event()
        kind: LiveKind[int] = LiveKind(
            name="costly", read=lambda _: read(), parts=lambda number, _: [Part("a", f"{number}")], rest=REST
        )
        view = SharedView(kind, read, RecentStates(), stopping)
        viewer = Viewer(reach=EVERYTHING, scope=Scope.READ)
        async with asyncio.timeout(30), aclosing(view.listen(viewer, "", stopping.wait(), lambda: None)) as stream:
            async for _ in stream:
                view.wake()
                if len(reads) == 4:
                    break
        stopping.set()

    asyncio.run(watch())
    assert min(later - one for one, later in pairwise(reads)) >= REST - 0.01
