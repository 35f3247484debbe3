"""The stream of an open page: its session is in use, it is never silent, and a token has some of all places."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import select, update

from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from prebuild_tasks.web.api import open_streams
from prebuild_tasks.web.api.problems import ProblemError
from prebuild_tasks.web.page import live
from prebuild_tasks.web.page.live import VIEWS_PER_TOKEN, ViewBudgets
from tests.support.browser import Browser


def last_seen_at(database: Database) -> datetime:
    with database.read() as connection:
        return connection.execute(select(m.PageSession.last_seen_at)).scalar_one()


def test_an_open_stream_is_use_of_its_session(browser: Browser, database: Database) -> None:
    [session_id] = browser.log_in().cookies.values()
    begun = datetime.now(UTC) - timedelta(hours=7)
    with database.write() as connection:
        connection.execute(update(m.PageSession).values(last_seen_at=begun))

    async def until_noted() -> None:
        while last_seen_at(database) == begun:
            await asyncio.sleep(0.01)

    async def watch() -> None:
        async with asyncio.timeout(30):
            await browser.api.app.state.door.session_watch.unless_ended(session_id, until_noted())

    browser.api.run(watch())
    assert datetime.now(UTC) - last_seen_at(database) < timedelta(minutes=1)


class Sent:
    """What the streams of an application are to send."""

    def __init__(self, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
        self.browser, self.chunks, add = browser, list[bytes](), open_streams.OpenStream.add
        monkeypatch.setattr(open_streams, "HEARTBEAT", 0.01)

        def note(stream: open_streams.OpenStream, chunk: bytes, number: int) -> None:
            self.chunks.append(chunk)
            add(stream, chunk, number)

        monkeypatch.setattr(open_streams.OpenStream, "add", note)

    def until(self, path: str, is_enough: Callable[[], bool]) -> str:
        """Return what a stream sends until this holds."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.browser.cookies.items())

        async def watch() -> httpx.Response:
            async with asyncio.timeout(30):
                answer = asyncio.create_task(self.browser.api.send("GET", path, "", headers={"Cookie": cookie}))
                while not is_enough():
                    await asyncio.sleep(0.01)
                self.browser.api.app.state.door.stopping.set()
                return await answer

        return str(self.browser.api.run(watch()).text)


def test_an_open_page_hears_that_its_stream_lives(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Sent(browser.log_in(), monkeypatch)
    assert "event: beat\ndata:\n\n" in sent.until("/live?view=kind%3Dpools", lambda: len(sent.chunks) > 2)


def test_a_view_that_is_refused_is_tried_again(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TRY_AGAIN", 0.1)
    monkeypatch.setattr(live, "VIEWS_PER_TOKEN", 0)
    sent = Sent(browser.log_in(), monkeypatch)

    def is_shown() -> bool:
        if any(b"event: stale" in chunk for chunk in sent.chunks):
            monkeypatch.setattr(live, "VIEWS_PER_TOKEN", 1)
        return any(b"event: change" in chunk for chunk in sent.chunks)

    text = sent.until("/live?view=kind%3Dpools", is_shown)
    assert text.index("different views already") < text.index("event: change")


def test_the_open_pages_of_a_token_show_so_many_different_views() -> None:
    budgets = ViewBudgets()
    with ExitStack() as stack:
        for number in range(VIEWS_PER_TOKEN):
            stack.enter_context(budgets.spent("a", f"kind=pools&q={number}"))
        with budgets.spent("a", "kind=pools&q=1"), budgets.spent("b", "kind=pools&q=new"):
            pass
        with pytest.raises(ProblemError, match="different views") as refused, budgets.spent("a", "kind=pools&q=new"):
            pass
        assert refused.value.details.status == 429
    with budgets.spent("a", "kind=pools&q=new"):
        pass
