"""A session that an open page watches is in use."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
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
