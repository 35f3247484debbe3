"""Views that many watch: one reader, at most one read in a while, and one computation for all who see the same."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import BusyError, UnreachableError
from prebuild_tasks.web.page import shared_views
from prebuild_tasks.web.page.parts import Part, Shown
from prebuild_tasks.web.page.shared_views import RecentStates
from tests.support.staged_view import ALL, SOME, Stage, html, staged

SOON = 0.15
"""Seconds within which what happens at once has happened, on a busy machine, too."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "REST", 0.3)
    monkeypatch.setattr(shared_views, "QUIET", 20.0)


def test_one_read_and_one_computation_serve_all_who_see_the_same() -> None:
    async def body(stage: Stage) -> None:
        async with AsyncExitStack() as stack:
            everyone = [await stack.enter_async_context(stage.watched(ALL)) for _ in range(20)]
            others = [await stack.enter_async_context(stage.watched(SOME)) for _ in range(20)]
            assert [html(await page.next()) for page in everyone] == [["a1", "b1"]] * 20
            assert [html(await page.next()) for page in others] == [["a1"]] * 20
            assert len(stage.reads) == 1
            stage.change(a=2)
            assert [html(await page.next()) for page in (*everyone, *others)] == [["a2"]] * 40
            assert len(stage.reads) == 2
            assert stage.computed == {ALL: 2, SOME: 2}
            stage.change(b=2)
            assert [html(await page.next()) for page in everyone] == [["b2"]] * 20
            stage.change(a=3)
            assert [html(await page.next()) for page in others] == [["a3"]] * 20

    staged(body)


def test_the_first_change_after_a_quiet_time_is_read_at_once_and_the_next_ones_rest() -> None:
    async def body(stage: Stage) -> None:
        async with stage.watched() as page:
            await page.next()
            await asyncio.sleep(shared_views.REST + SOON)
            for turn in range(3):
                changed_at = monotonic()
                stage.change(a=10 + turn)
                assert html(await page.next()) == [f"a{10 + turn}"]
                if turn == 0:
                    assert monotonic() - changed_at < SOON
        rests = [later - one for one, later in zip(stage.reads, stage.reads[1:], strict=False)]
        assert min(rests) >= shared_views.REST - 0.01
        assert rests[1] < shared_views.REST + SOON

    staged(body)


def test_changes_without_an_event_are_seen_by_a_slow_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "QUIET", 0.5)

    async def body(stage: Stage) -> None:
        async with stage.watched() as page:
            await page.next()
            stage.rows["a"] = 5
            assert html(await page.next()) == ["a5"]

    staged(body)


def test_a_slow_look_does_not_delay_the_first_change_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "REST", 5.0)
    monkeypatch.setattr(shared_views, "QUIET", 0.4)

    async def body(stage: Stage) -> None:
        async with stage.watched() as page:
            await page.next()
            while len(stage.reads) < 3:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)  # that look has ended
            changed_at = monotonic()
            stage.change(a=2)
            assert html(await page.next()) == ["a2"]
            assert monotonic() - changed_at < SOON
            assert len(stage.reads) == 4

    staged(body)


def test_an_event_that_comes_while_the_view_is_read_leads_to_another_read() -> None:
    async def body(stage: Stage) -> None:
        async with stage.watched() as page:
            await page.next()
            stage.view.wake()
            while len(stage.reads) < 2:
                await asyncio.sleep(0)
            stage.change(a=7)  # this read may have missed it
            assert html(await page.next()) == ["a7"]

    staged(body)


def test_who_joins_a_read_that_anothers_allowance_refuses_reads_once_more() -> None:
    async def body(stage: Stage) -> None:
        stage.takes, stage.refused = 0.05, {"greedy"}
        greedy = asyncio.create_task(stage.view.current(monotonic(), "greedy"))
        while not stage.reads:
            await asyncio.sleep(0)
        assert await stage.view.current(monotonic(), "modest") == stage.rows
        with pytest.raises(BusyError):
            await greedy
        assert len(stage.reads) == 2

    staged(body)


def test_a_page_gets_what_changed_since_its_state() -> None:
    async def body(stage: Stage) -> None:
        before = stage.recent.keep(Shown(tuple(stage.parts({"a": 1, "b": 0, "c": 1}, ALL))))
        async with stage.watched(ALL, before.state) as page:
            change = await page.next()
            assert (change["was"], html(change), change["gone"]) == (before.state, ["b1"], ["c"])
        async with stage.watched(ALL, "of another process") as page:
            change = await page.next()
            assert (change["all"], html(change)) == (True, ["a1", "b1"])

    staged(body)


def test_nothing_is_read_while_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "REST", 0.01)
    monkeypatch.setattr(shared_views, "QUIET", 0.02)

    async def body(stage: Stage) -> None:
        async with stage.watched() as page:
            await page.next()
        await stage.until(lambda: not stage.view.is_in_use)
        before = len(stage.reads)
        stage.change(a=9)
        await asyncio.sleep(0.1)
        assert len(stage.reads) == before
        async with stage.watched() as page:
            assert html(await page.next()) == ["a9", "b1"]

    staged(body)


def test_pages_of_one_stream_that_show_different_states_go_on_together() -> None:
    async def body(stage: Stage) -> None:
        one, other = (stage.recent.keep(Shown(tuple(stage.parts({"a": a}, ALL)))) for a in (7, 8))
        async with stage.watched(ALL, one.state, other.state) as page:
            first, second = await page.next(), await page.next()
            assert [first["was"], second["was"]] == [one.state, other.state]
            assert first["is"] == second["is"]
            stage.change(b=3)
            assert (await page.next())["was"] == first["is"]
            stage.change(b=4)
            assert html(await page.next()) == ["b4"]

    staged(body)


def test_pages_are_told_since_when_and_why_they_are_not_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "QUIET", 0.1)

    async def body(stage: Stage) -> None:
        async with stage.watched() as page, stage.watched(SOME) as other:
            state = (await page.next())["is"]
            await other.next()
            stage.fails = True
            stale = await page.next("stale")
            assert stale["why"] == "the database does not answer"
            assert (
                datetime.now(UTC) - timedelta(seconds=30) < datetime.fromisoformat(stale["since"]) < datetime.now(UTC)
            )
            assert await other.next("stale") == stale
            async with stage.watched(ALL, state) as late:
                assert await late.next("stale") == stale, "who comes meanwhile is told so, too"
                before = len(stage.reads)
                await stage.until(lambda: len(stage.reads) > before + 2)
                stage.rows["b"], stage.fails = 2, False
                for each in (page, late):  # they were told it once
                    assert html(await each.next()) == ["b2"]
                unchanged = await other.next()
                assert (unchanged["parts"], unchanged["was"]) == ([], unchanged["is"])

    staged(body)


def test_pages_are_told_that_a_read_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "SLOW", 0.05)

    async def body(stage: Stage) -> None:
        async with stage.watched() as page:
            await page.next()
            stage.takes = 0.5
            stage.view.wake()
            assert (await page.next("stale"))["why"] == "reading takes longer than 0.05 s"
            assert (await page.next())["parts"] == []

    staged(body)


def test_who_sees_nothing_any_more_is_told_so_and_the_others_go_on() -> None:
    async def body(stage: Stage) -> None:
        async with stage.watched(SOME) as gone, stage.watched() as page:
            await gone.next()
            await page.next()
            stage.hidden_from.add(SOME)
            stage.change(a=2)
            assert html(await page.next()) == ["a2"]
            assert (await gone.next("stale"))["why"] == "there is no such thing"
            stage.hidden_from.clear()
            stage.change(a=3)
            assert html(await page.next()) == ["a3"]
            assert html(await gone.next()) == ["a3"]

    staged(body)


def test_the_stream_of_a_page_that_takes_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "REST", 0.001)

    async def body(stage: Stage) -> None:
        async with stage.watched() as stuck, stage.watched() as page:
            await page.next()
            for turn in range(10):
                assert not stuck.stream.is_over
                stage.change(a=100 + turn)
                await page.next()
            assert stuck.stream.is_over

    staged(body)


def test_visits_at_the_same_time_share_one_read() -> None:
    async def body(stage: Stage) -> None:
        stage.takes = 0.05
        since = monotonic() - shared_views.REST
        views = await asyncio.gather(*(stage.view.current(since, f"token {number}") for number in range(20)))
        assert views == [{"a": 1, "b": 1}] * 20
        assert len(stage.reads) == 1
        assert stage.view.is_in_use
        asked_at = monotonic()
        await asyncio.gather(*(stage.view.current(asked_at) for _ in range(20)))
        assert len(stage.reads) == 2, "who must see what is now does not take what was read before"
        stage.fails = True
        errors = await asyncio.gather(*(stage.view.current(monotonic()) for _ in range(20)), return_exceptions=True)
        assert [type(error) for error in errors] == [UnreachableError] * 20
        assert len(stage.reads) == 3
        await stage.until(lambda: not stage.view.is_in_use)

    staged(body)


def test_a_read_goes_on_for_the_others_when_the_visit_that_began_it_goes_away() -> None:
    async def body(stage: Stage) -> None:
        stage.takes = 0.05
        first = asyncio.create_task(stage.view.current(monotonic()))
        await stage.until(lambda: stage.reads)
        second = asyncio.create_task(stage.view.current(0.0))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == {"a": 1, "b": 1}
        assert len(stage.reads) == 1

    staged(body)


def test_only_so_many_states_are_remembered() -> None:
    recent, first = RecentStates(), Shown((Part("a", "first"),))
    recent.keep(first)
    for number in range(shared_views.KEPT):
        recent.keep(Shown((Part("a", f"{number}"),)))
    now = Shown((Part("a", "now"),))
    assert b'"all":true' in recent.change_since(first.state, now)
    assert b'"all":true' not in recent.change_since(Shown((Part("a", "1"),)).state, now)
