"""Views that many watch: one reader, at most one read in a while, and one computation for all who see the same."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest

from prebuild_tasks.access import EVERYTHING, Reach, Scope
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import NotFoundError, UnreachableError
from prebuild_tasks.web.page import shared_views
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer
from prebuild_tasks.web.page.parts import Part, Shown
from prebuild_tasks.web.page.shared_views import RecentStates, SharedView

ALL = Viewer(reach=EVERYTHING, scope=Scope.ADMIN)
SOME = Viewer(reach=Reach(organization="acme"), scope=Scope.READ)
SOON = 0.15
"""Seconds within which what happens at once has happened, on a busy machine, too."""


class Stage:
    """A view in memory."""

    def __init__(self) -> None:
        self.rows = {"a": 1, "b": 1}
        self.reads = list[float]()
        """The times at which they began."""
        self.computed = Counter[Viewer]()
        self.fails, self.hidden_from = False, set[Viewer]()
        self.stopping, self.cut = asyncio.Event(), 0
        kind: LiveKind[dict[str, int]] = LiveKind(name="rows", read=lambda _: {}, parts=self.parts)
        self.recent = RecentStates()
        self.view = SharedView(kind, self.read, self.recent, self.stopping)

    async def read(self) -> dict[str, int]:
        self.reads.append(monotonic())
        await asyncio.sleep(0)
        if self.fails:
            raise UnreachableError("the database is away")
        return dict(self.rows)

    def parts(self, rows: dict[str, int], viewer: Viewer) -> Sequence[Part]:
        self.computed[viewer] += 1
        if viewer in self.hidden_from:
            raise NotFoundError("there is no such thing")
        return [Part(name, f"{name}{value}", "list") for name, value in rows.items() if viewer == ALL or name == "a"]

    def watch(self, viewer: Viewer = ALL, state: str = "") -> AsyncGenerator[bytes, None]:
        return self.view.listen(viewer, state, self.stopping.wait(), self._cut)

    def _cut(self) -> None:
        self.cut += 1

    def change(self, **rows: int) -> None:
        self.rows |= rows
        self.view.wake()


def staged(body: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        stage = Stage()
        async with asyncio.timeout(30):
            await body(stage)
        stage.stopping.set()

    asyncio.run(run())


async def change_of(stream: AsyncIterator[bytes]) -> dict[str, Any]:
    """Return the next change of a stream."""
    while True:
        text = (await anext(stream)).decode()
        if "data: " in text:
            body: dict[str, Any] = json.loads(text.partition("data: ")[2])
            return body


def html(change: dict[str, Any]) -> list[str]:
    return [part["html"] for part in change["parts"]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "REST", 0.3)
    monkeypatch.setattr(shared_views, "QUIET", 20.0)


def test_one_read_and_one_computation_serve_all_who_see_the_same() -> None:
    async def body(stage: Stage) -> None:
        async with AsyncExitStack() as stack:
            everyone = [await stack.enter_async_context(aclosing(stage.watch(ALL))) for _ in range(20)]
            others = [await stack.enter_async_context(aclosing(stage.watch(SOME))) for _ in range(20)]
            assert [html(await change_of(stream)) for stream in everyone] == [["a1", "b1"]] * 20
            assert [html(await change_of(stream)) for stream in others] == [["a1"]] * 20
            assert len(stage.reads) == 1
            stage.change(a=2)
            assert [html(await change_of(stream)) for stream in (*everyone, *others)] == [["a2"]] * 40
            assert len(stage.reads) == 2
            assert stage.computed == {ALL: 2, SOME: 2}
            stage.change(b=2)
            assert [html(await change_of(stream)) for stream in everyone] == [["b2"]] * 20
            stage.change(a=3)
            assert [html(await change_of(stream)) for stream in others] == [["a3"]] * 20

    staged(body)


def test_the_first_change_after_a_quiet_time_is_read_at_once_and_the_next_ones_rest() -> None:
    async def body(stage: Stage) -> None:
        async with aclosing(stage.watch()) as stream:
            await change_of(stream)
            await asyncio.sleep(shared_views.REST + SOON)
            for turn in range(3):
                changed_at = monotonic()
                stage.change(a=10 + turn)
                assert html(await change_of(stream)) == [f"a{10 + turn}"]
                if turn == 0:
                    assert monotonic() - changed_at < SOON
        rests = [later - one for one, later in zip(stage.reads, stage.reads[1:], strict=False)]
        assert min(rests) >= shared_views.REST - 0.01
        assert rests[1] < shared_views.REST + SOON

    staged(body)


def test_changes_without_an_event_are_seen_by_a_slow_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "QUIET", 0.5)

    async def body(stage: Stage) -> None:
        async with aclosing(stage.watch()) as stream:
            await change_of(stream)
            stage.rows["a"] = 5
            assert html(await change_of(stream)) == ["a5"]

    staged(body)


def test_a_slow_look_does_not_delay_the_first_change_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "REST", 5.0)
    monkeypatch.setattr(shared_views, "QUIET", 0.4)

    async def body(stage: Stage) -> None:
        async with aclosing(stage.watch()) as stream:
            await change_of(stream)
            while len(stage.reads) < 3:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)  # that look has ended
            changed_at = monotonic()
            stage.change(a=2)
            assert html(await change_of(stream)) == ["a2"]
            assert monotonic() - changed_at < SOON
            assert len(stage.reads) == 4

    staged(body)


def test_an_event_that_comes_while_the_view_is_read_leads_to_another_read() -> None:
    async def body(stage: Stage) -> None:
        async with aclosing(stage.watch()) as stream:
            await change_of(stream)
            stage.view.wake()
            while len(stage.reads) < 2:
                await asyncio.sleep(0)
            stage.change(a=7)  # this read may have missed it
            assert html(await change_of(stream)) == ["a7"]

    staged(body)


def test_a_page_gets_what_changed_since_its_state() -> None:
    async def body(stage: Stage) -> None:
        page = stage.recent.keep(Shown(tuple(stage.parts({"a": 1, "b": 0, "c": 1}, ALL))))
        async with aclosing(stage.watch(ALL, page.state)) as stream:
            change = await change_of(stream)
            assert (change["was"], html(change), change["gone"]) == (page.state, ["b1"], ["c"])
        async with aclosing(stage.watch(ALL, "of another process")) as stream:
            change = await change_of(stream)
            assert (change["all"], html(change)) == (True, ["a1", "b1"])

    staged(body)


def test_nothing_is_read_while_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "REST", 0.01)
    monkeypatch.setattr(shared_views, "QUIET", 0.02)

    async def body(stage: Stage) -> None:
        async with aclosing(stage.watch()) as stream:
            await change_of(stream)
        while stage.view.is_watched:
            await asyncio.sleep(0.01)
        before = len(stage.reads)
        stage.change(a=9)
        await asyncio.sleep(0.1)
        assert len(stage.reads) == before
        async with aclosing(stage.watch()) as stream:
            assert html(await change_of(stream)) == ["a9", "b1"]

    staged(body)


def test_a_view_that_cannot_be_read_delays_and_loses_nothing() -> None:
    async def body(stage: Stage) -> None:
        async with aclosing(stage.watch()) as stream:
            await change_of(stream)
            stage.fails = True
            stage.change(a=2)
            while len(stage.reads) < 2:
                await asyncio.sleep(0.01)
            stage.fails = False
            stage.view.wake()
            assert html(await change_of(stream)) == ["a2"]

    staged(body)


def test_who_sees_nothing_any_more_is_let_go_and_the_others_go_on() -> None:
    async def body(stage: Stage) -> None:
        async with aclosing(stage.watch(SOME)) as gone, aclosing(stage.watch()) as stream:
            await change_of(gone)
            await change_of(stream)
            stage.hidden_from.add(SOME)
            stage.change(a=2)
            assert html(await change_of(stream)) == ["a2"]
            with pytest.raises(NotFoundError):
                await stage.view.check(SOME)
            stage.hidden_from.clear()
            stage.change(a=3)
            assert html(await change_of(stream)) == ["a3"], "also while the other stream is not closed yet"
            assert await anext(gone, b"end") == b"end"

    staged(body)


def test_one_that_takes_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "REST", 0.001)

    async def body(stage: Stage) -> None:
        async with aclosing(stage.watch()) as stuck, aclosing(stage.watch()) as stream:
            await change_of(stuck)  # and its client takes nothing more
            await change_of(stream)
            for turn in range(shared_views.BEHIND_MAX + 1):
                stage.change(a=100 + turn)
                await change_of(stream)
            assert stage.cut == 1

    staged(body)


def test_only_so_many_states_are_remembered() -> None:
    recent, first = RecentStates(), Shown((Part("a", "first"),))
    recent.keep(first)
    for number in range(shared_views.KEPT):
        recent.keep(Shown((Part("a", f"{number}"),)))
    now = Shown((Part("a", "now"),))
    assert b'"all":true' in recent.message(first.state, now)
    assert b'"all":true' not in recent.message(Shown((Part("a", "1"),)).state, now)
