"""The buttons of pools: what each says before it does anything, and what it does once that is confirmed."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from markupsafe import escape
from sqlalchemy import select, update

from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight import HistoryEvent, read_history
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.schema import tables as m
from prebuild_tasks.web.page.actions import ACTIONS
from tests.support.api import Api, serving
from tests.support.browser import Browser
from tests.support.builders import PRESET, declare_simulated, fill, staffed

POOL = "/pools/dev/small"
NAMES = [action.name for action in ACTIONS]
HOSTILE = "<script>alert(1)</script>' onfocus='x"


@pytest.fixture(autouse=True)
def filled(database: Database, settings: Settings) -> None:
    declare_simulated(database, settings)
    staffed(database, settings)
    fill(database, settings)


def paused(database: Database) -> dict[str, str | None] | None:
    with database.read() as connection:
        stored: dict[str, str | None] | None = connection.execute(select(m.Preset.paused)).scalar_one()
    return stored


def newest(database: Database) -> HistoryEvent:
    return read_history(database, limit=1)[0]


def confirmed(browser: Browser, name: str, **fields: str) -> str:
    """Press a button and confirm; return where that leads."""
    answer = browser.submit(f"{POOL}/{name}", {**fields, "confirm": "yes"})
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_done_before_it_is_confirmed(browser: Browser, database: Database, name: str) -> None:
    before = newest(database)
    answer = browser.log_in().submit(f"{POOL}/{name}")
    assert answer.status_code == 200
    assert f'<form class="stacked" method="post" action="{POOL}/{name}">' in answer.text
    assert re.search(r'<button name="confirm" value="yes" class="(primary|danger)">', answer.text)
    assert f"<h1>{name.capitalize()} dev/small?</h1>" in answer.text
    assert "<li>" in answer.text
    assert newest(database) == before
    assert paused(database) is None


@pytest.mark.parametrize("name", NAMES)
def test_who_may_only_read_has_no_buttons_and_is_refused(api: Api, database: Database, name: str) -> None:
    reader, before = Browser(api).log_in(api.token("read")), newest(database)
    assert f"{POOL}/{name}" not in reader.get(POOL).text
    for fields in ({}, {"confirm": "yes"}):
        answer = reader.submit(f"{POOL}/{name}", fields)
        assert (answer.status_code, answer.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
        assert "has the scope read, and this needs operate" in answer.text
    assert newest(database) == before


def test_a_pause_with_its_reason_and_its_end(browser: Browser, database: Database) -> None:
    browser.log_in()
    until = f"{utcnow() + timedelta(hours=2):%Y-%m-%dT%H:%M}"
    asked = browser.submit(f"{POOL}/pause", {"reason": "costs", "until": until}).text
    assert 'name="reason" maxlength="500" autocomplete="off" value="costs"' in asked
    assert f'name="until" type="datetime-local" step="any" autocomplete="off" value="{until}:00"' in asked
    assert f'Nothing is created or deleted until <time datetime="{until}:00Z" title=' in asked
    assert "2 of 2 desired prebuilds can be claimed. Claims go on." in asked
    assert confirmed(browser, "pause", reason="costs", until=f"{until}:00") == f"{POOL}?done=paused"
    stored = paused(database)
    assert stored is not None
    assert (stored["reason"], str(stored["until"])[:16]) == ("costs", until)
    assert (newest(database).event, newest(database).actor[:6]) == ("paused", "token:")
    page = browser.get(f"{POOL}?done=paused").text
    assert "The pool is paused." in page
    assert page.count(f'action="{POOL}/resume"') == 1
    assert f'action="{POOL}/pause"' not in page


def test_a_pause_with_the_instants_and_spans_of_the_api(browser: Browser, database: Database) -> None:
    browser.log_in()
    end = utcnow().replace(microsecond=0) + timedelta(hours=3)
    confirmed(browser, "pause", until=f"{end:%Y-%m-%dT%H:%M:%S}+00:00")
    assert (paused(database) or {})["until"] == end.isoformat()
    confirmed(browser, "pause", duration="2h")
    assert (paused(database) or {})["until"]
    confirmed(browser, "pause", reason="", until="")
    assert paused(database) is not None
    assert (paused(database) or {})["until"] is None


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"until": "tomorrow"}, "Until: "),
        ({"until": "2026-02-30T10:00"}, "Until: "),
        ({"until": "12345678"}, "Until: "),
        (
            {"until": "2020-01-01T10:00"},
            'The pause would have ended at <time datetime="2020-01-01T10:00:00Z"',
        ),
        (
            {"until": "2020-01-01T10:00", "confirm": "yes"},
            'The pause would have ended at <time datetime="2020-01-01T10:00:00Z"',
        ),
        ({"reason": "x" * 501}, "Reason: "),
        ({"reason": "a\x00b"}, "Reason: "),
        ({"reason": "a\u202eb", "confirm": "yes"}, "Reason: "),
        ({"duration": "soon", "confirm": "yes"}, "Duration: "),
        ({"duration": "1h", "until": "2030-01-01T10:00"}, "Give until or duration, not both"),
    ],
)
def test_a_pause_that_is_not_valid_is_asked_for_again(
    browser: Browser, database: Database, fields: dict[str, str], told: str
) -> None:
    answer = browser.log_in().submit(f"{POOL}/pause", fields)
    assert answer.status_code == 422
    assert told in answer.text
    assert "Nothing is created or deleted" not in answer.text
    assert '<button name="confirm"' in answer.text
    assert "\x00" not in answer.text
    assert "\u202e" not in answer.text
    assert paused(database) is None


def test_a_reason_is_not_changed_by_the_page_that_asks_again(browser: Browser, database: Database) -> None:
    r"""A mark of Hebrew texts was stored as the six characters `\u200f`, instead of being refused as over HTTP."""
    reason = '\u05e2\u05dc\u200f "x"'
    asked = browser.log_in().submit(f"{POOL}/pause", {"reason": reason}).text
    assert f'value="{escape(reason)}"' in asked
    answer = browser.submit(f"{POOL}/pause", {"reason": reason, "confirm": "yes"})
    assert (answer.status_code, "use printable characters only" in answer.text) == (422, True)
    assert paused(database) is None


def test_a_hostile_reason_is_shown_as_text(browser: Browser) -> None:
    asked = browser.log_in().submit(f"{POOL}/pause", {"reason": HOSTILE}).text
    confirmed(browser, "pause", reason=HOSTILE)
    for page in (asked, browser.get(POOL).text, browser.get("/pools").text):
        assert "<script>alert" not in page
        assert "' onfocus='" not in page
    assert "&lt;script&gt;" in browser.get(POOL).text


def test_a_resume_says_what_is_created_then(browser: Browser, database: Database) -> None:
    browser.log_in()
    assert "It is not paused, so nothing is changed." in browser.submit(f"{POOL}/resume").text
    assert confirmed(browser, "resume") == f"{POOL}?done=not_paused"
    pause(database, PRESET, actor="ada", reason="cost")
    with database.write() as connection:
        connection.execute(update(m.Preset).values(desired=5))
    assert "It is reconciled again, at once: create 3." in browser.submit(f"{POOL}/resume").text
    assert "It lacks 3 prebuilds, which will not be created." in browser.submit(f"{POOL}/pause").text
    assert "but held back: paused" in browser.submit(f"{POOL}/invalidate").text
    assert confirmed(browser, "resume") == f"{POOL}?done=resumed"
    assert (newest(database).event, paused(database)) == ("resumed", None)


def test_outdated_prebuilds_are_replaced(browser: Browser, database: Database, settings: Settings) -> None:
    rolling = "replace: {strategy: rolling, max_surge: 1}"
    declare_simulated(database, settings, 2, extra=rolling)
    declare_simulated(database, settings, 3, config="{ready_after: 1s}", extra=rolling)
    pause(database, PRESET, actor="ada")
    asked = browser.log_in().submit(f"{POOL}/resume").text
    assert "It is reconciled again, at once: replace 2, create 1." in asked
    assert "0 of 3 desired prebuilds can be claimed, and 2 outdated until replaced." in asked
    assert (
        "Left alone: 2 prebuilds of other versions, still claimed until replaced."
        in browser.submit(f"{POOL}/invalidate").text
    )


def test_a_pause_of_everything_is_not_ended_by_a_pool(browser: Browser, database: Database) -> None:
    pause(database, actor="ada")
    browser.log_in()
    assert (
        "Everything is paused, and this ends only a pause of the pool itself" in browser.submit(f"{POOL}/resume").text
    )
    assert confirmed(browser, "resume") == f"{POOL}?done=not_paused"
    page = browser.get(POOL).text
    assert f'action="{POOL}/resume"' not in page
    assert f'action="{POOL}/pause"' in page


def test_a_block_ends(browser: Browser, database: Database) -> None:
    browser.log_in()
    assert f'action="{POOL}/unblock"' not in browser.get(POOL).text
    assert confirmed(browser, "unblock") == f"{POOL}?done=not_blocked"
    with database.write() as connection:
        blocked = {"status": PresetStatus.HARD_LIMITED, "failures_in_row": 5, "desired": 3}
        connection.execute(update(m.Preset).values(blocked))
    assert browser.get(POOL).text.count(f'action="{POOL}/unblock"') == 1
    asked = browser.submit(f"{POOL}/unblock").text
    assert "Its 5 failures in a row are forgotten. It builds again, without waiting: create 1." in asked
    assert confirmed(browser, "unblock") == f"{POOL}?done=unblocked"
    with database.read() as connection:
        assert connection.execute(select(m.Preset.status)).scalar_one() is PresetStatus.HEALTHY


def test_invalidating_says_how_many_it_replaces(browser: Browser, database: Database) -> None:
    asked = browser.log_in().submit(f"{POOL}/invalidate").text
    assert "Replace 2: 2 prebuilds expire now" in asked
    assert confirmed(browser, "invalidate") == f"{POOL}?done=invalidated"
    assert newest(database).event == "invalidated"
    with database.write() as connection:
        connection.execute(update(m.Workspace).values(owner="ada", claimed_at=database.now(connection), slot=None))
    asked = browser.submit(f"{POOL}/invalidate").text
    assert "It has no prebuild to replace." in asked
    assert "Left alone: 2 claimed workspaces." in asked


def test_what_follows_is_sent_after_the_answer(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(database, settings) as api:
        sent: list[object] = []
        monkeypatch.setattr(api.app.state.door, "send", sent.append)
        browser = Browser(api).log_in()
        confirmed(browser, "invalidate")
        assert len(sent) == 1
        pause(database, actor="ada")
        browser.submit("/pools/resume", {"confirm": "yes"})
        assert len(sent) == 2


def test_a_turn_is_asked_for(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(database, settings) as api:
        asked: list[str] = []

        async def request_turn(_preset_id: int | None, name: str) -> bool:
            asked.append(name)
            return len(asked) == 1

        monkeypatch.setattr(api.app.state.door.redis, "request_turn", request_turn)
        browser = Browser(api).log_in()
        assert "nothing to build or delete" in browser.submit(f"{POOL}/reconcile").text
        assert asked == []
        assert confirmed(browser, "reconcile") == f"{POOL}?done=turn_requested"
        assert asked == [PRESET]
        refused = browser.submit(f"{POOL}/reconcile", {"confirm": "yes"})
        assert refused.status_code == 503
        assert "Redis did not take the message." in refused.text
