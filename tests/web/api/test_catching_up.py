"""Streams that catch up, over a database: they hold nobody up, and get what pages show."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import EventFilter, Listener, number_all_events, reading
from prebuild_tasks.web.api import event_log
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.api.event_log import EventSelection
from tests.support.api import Api
from tests.support.organizations import fill_organizations

EVERYTHING = EventSelection(Listener(), EventFilter())


def test_they_hold_up_neither_numbers_nor_tokens_nor_readiness(
    api: Api, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_organizations(database, settings)
    number_all_events(database)
    began, may_go_on, door, read = threading.Event(), threading.Event(), api.app.state.door, event_log.read_missed
    other = api.token()

    def held(*arguments: Any) -> Any:
        began.set()
        assert may_go_on.wait(30)
        return read(*arguments)

    monkeypatch.setattr(event_log, "read_missed", held)

    async def body() -> None:
        async with aclosing(door.streams.listen(EVERYTHING, 0, door.stopping.wait(), bool)) as stream:
            first = asyncio.ensure_future(anext(stream))
            assert await asyncio.to_thread(began.wait, 10)
            try:
                async with asyncio.timeout(10):
                    await door.number_events()
                    assert (await api.send("GET", "/v1/pools", other)).status_code == 200
                    assert await door.is_ready()
            finally:
                may_go_on.set()
            assert b"\ndata: " in await first

    api.run(body())


@pytest.mark.parametrize("wanted", [EventFilter(), EventFilter(owner="nobody")], ids=["all", "none"])
def test_they_come_to_the_end_in_short_reads(
    api: Api, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, wanted: EventFilter
) -> None:
    fill_organizations(database, settings)
    number_all_events(database)
    page, door = reading.read_events(database, 0, wanted), api.app.state.door
    newest = reading.newest_event(database)
    assert newest > 4
    after, read, reads = 0, list[int](), 0
    while after < newest:
        missed = reading.read_missed(database, after, wanted, Listener(), limit=3, span=4)
        assert after < missed.next <= newest
        read += [event.id for event in missed.items]
        after, reads = missed.next, reads + 1
    assert read == [event.id for event in page.items]
    assert reads >= newest / 4 - 1
    assert api.run(_sent(door, EventSelection(Listener(), wanted))) == len(read)


async def _sent(door: Door, selection: EventSelection) -> int:
    """Return how many events a stream sends until it is at the end."""
    sent = ""
    async with aclosing(door.streams.listen(selection, 0, asyncio.sleep(1.5), bool)) as stream:
        async for chunk in stream:
            sent += chunk.decode()
    return sent.count("\ndata: ")
