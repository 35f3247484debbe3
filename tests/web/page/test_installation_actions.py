"""The buttons that concern the whole installation."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight import HistoryEvent, read_history
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.schema import tables as m
from tests.support.api import Api
from tests.support.browser import Browser
from tests.support.builders import declare_simulated, fill, staffed

POOL = "/pools/dev/small"
HOSTILE = "<script>alert(1)</script>' onfocus='x"


@pytest.fixture(autouse=True)
def filled(database: Database, settings: Settings) -> None:
    declare_simulated(database, settings)
    staffed(database, settings)
    fill(database, settings)


def newest(database: Database) -> HistoryEvent:
    return read_history(database, limit=1)[0]


def test_a_pause_of_everything_is_ended_as_a_whole(browser: Browser, database: Database) -> None:
    browser.log_in()
    assert "Not everything is paused, so nothing is changed." in browser.submit("/pools/resume").text
    answer = browser.submit("/pools/resume", {"confirm": "yes"})
    assert answer.headers["Location"] == "/pools?done=not_all_paused"
    assert "Not everything was paused" in browser.get("/pools?done=not_all_paused").text
    pause(database, actor="ada", reason=HOSTILE)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(desired=5))
    assert '<form method="post" action="/pools/resume">' in browser.get(POOL).text
    before, asked = newest(database), browser.submit("/pools/resume").text
    assert '<form class="stacked" method="post" action="/pools/resume">' in asked
    assert "Everything is paused by ada since" in asked
    assert "<script>alert" not in asked
    assert "1 pool lacks 3 prebuilds in all." in asked
    assert newest(database) == before
    answer = browser.submit("/pools/resume", {"confirm": "yes"})
    assert answer.headers["Location"] == "/pools?done=all_resumed"
    assert (newest(database).event, newest(database).actor[:6]) == ("resumed", "token:")
    page = browser.get("/pools?done=all_resumed").text
    assert "The pools are no longer paused" in page
    assert 'action="/pools/resume"' not in page


def test_a_pause_of_everything_concerns_everybody(api: Api, database: Database) -> None:
    pause(database, actor="ada")
    for token in (api.token("read"), api.token("operate", organization="default"), api.token("claim", owner="ada")):
        browser, before = Browser(api).log_in(token), newest(database)
        for path in (POOL, "/pools"):
            page = browser.get(path).text
            assert "<code>prebuild resume</code>" in page
            assert "/pools/resume" not in page
        for fields in ({}, {"confirm": "yes"}):
            assert browser.submit("/pools/resume", fields).status_code == 403
        assert newest(database) == before


def test_a_sweep_is_confirmed(browser: Browser, database: Database) -> None:
    browser.log_in()
    assert "Nothing waits for a confirmation." in browser.submit("/sweep/confirm").text
    answer = browser.submit("/sweep/confirm", {"confirm": "yes"})
    assert answer.headers["Location"] == "/health?done=nothing_to_confirm"
    with database.write() as connection:
        [workspace_id, *_] = connection.execute(select(m.Workspace.id)).scalars().all()
        connection.execute(m.ProbeState.__table__.delete())
        now = database.now(connection)
        doubted = {"workspace_id": workspace_id, "next_at": now, "missing_since": now, "waiting": True}
        connection.execute(insert(m.ProbeState).values(doubted))
    assert '<form method="post" action="/sweep/confirm">' in browser.get(POOL).text
    assert "1 stray or missing prebuild held back" in browser.submit("/sweep/confirm").text
    answer = browser.submit("/sweep/confirm", {"confirm": "yes"})
    assert answer.headers["Location"] == "/health?done=sweep_confirmed"
    assert (newest(database).event, newest(database).actor[:6]) == ("loss_confirmed", "token:")


def test_a_sweep_concerns_everybody(api: Api) -> None:
    for token in (api.token("read"), api.token("operate", organization="default")):
        browser = Browser(api).log_in(token)
        assert browser.submit("/sweep/confirm", {"confirm": "yes"}).status_code == 403
