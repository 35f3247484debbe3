"""Visits that share what was read, and those that must not."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight import build_log, list_builds, pool_lines
from prebuild_tasks.web.page import builds, pools
from tests.support.api import Api, serving
from tests.support.browser import Browser
from tests.support.builders import declare, fill
from tests.support.live import live_address

POOL = "/pools/dev/small"
PAUSED = '<span class="badge paused">'


@pytest.fixture
def stocked(database: Database, settings: Settings) -> Iterator[Api]:
    declare(database, settings, 2)
    fill(database, settings)
    with serving(database, settings) as api:
        yield api


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the reads of three views."""
    counted = Counter[str]()

    def counting(name: str, read: Any) -> Any:
        def count(*args: Any, **kwargs: Any) -> Any:
            counted[name] += 1
            return read(*args, **kwargs)

        return count

    monkeypatch.setattr(pools, "pool_lines", counting("pools", pool_lines))
    monkeypatch.setattr(builds, "list_builds", counting("builds", list_builds))
    monkeypatch.setattr(builds, "build_log", counting("output", build_log))
    return counted


def at_once(browser: Browser, path: str, number: int) -> list[httpx.Response]:
    """Load a page so many times at once."""
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())

    async def load() -> list[httpx.Response]:
        return await asyncio.gather(
            *(browser.api.send("GET", path, "", headers={"Cookie": cookie}) for _ in range(number))
        )

    answers: list[httpx.Response] = browser.api.run(load())
    assert {answer.status_code for answer in answers} == {200}
    return answers


def test_visits_at_once_share_a_read(stocked: Api, reads: Counter[str]) -> None:
    browser = Browser(stocked).log_in()
    answers = at_once(browser, "/pools", 20)
    assert reads == {"pools": 1}
    assert len({live_address(answer.text) for answer in answers}) == 1, "they show the same state"
    at_once(browser, "/builds", 20)
    at_once(browser, "/builds?status=failed", 5)
    assert reads == {"pools": 1, "builds": 2}


def test_who_follows_the_same_output_shares_a_read(stocked: Api, reads: Counter[str]) -> None:
    browser = Browser(stocked).log_in()
    build = str(re.search(r'id="build-([\w-]+)"', browser.get("/builds").text)[1])  # type: ignore[index]
    reads.clear()
    at_once(browser, f"/builds/{build}/log?after=1.0", 20)
    at_once(browser, f"/builds/{build}/log?after=1.1", 20)
    assert reads == {"output": 2}
    other = Browser(stocked).log_in(stocked.token("read", presets=["dev/other"]))
    assert other.get(f"/builds/{build}/log?after=1.0").status_code == 404


def test_visits_of_a_second_read_at_most_twice(stocked: Api, reads: Counter[str]) -> None:
    browser, began = Browser(stocked).log_in(), monotonic()
    for _ in range(5):
        at_once(browser, "/pools", 10)
    assert reads["pools"] <= 1 + (monotonic() - began)


def test_a_token_gets_nothing_that_was_read_for_another_one(stocked: Api, reads: Counter[str]) -> None:
    everyone = Browser(stocked).log_in()
    other = Browser(stocked).log_in(stocked.token("read", presets=["dev/other"]))
    assert "dev/small" in everyone.get("/builds").text
    assert "dev/small" not in other.get("/builds").text
    assert reads == {"builds": 2}
    assert everyone.get(POOL).status_code == 200
    assert other.get(POOL).status_code == 404
    assert "dev/small" in everyone.get("/pools").text
    assert "dev/small" not in other.get("/pools").text
    assert reads["pools"] == 1, "one read of all pools is for all"


def test_a_change_is_seen_right_after_its_form(stocked: Api) -> None:
    browser = Browser(stocked).log_in()
    for action, label in (("pause", "resume"), ("resume", "pause"), ("pause", "resume")):
        was_paused = PAUSED in browser.get("/pools").text
        answer = browser.submit(f"{POOL}/{action}", {"confirm": ""})
        assert answer.status_code == 303
        assert f'action="{POOL}/{label}"' in browser.get(answer.headers["location"]).text
        is_paused = PAUSED in browser.get("/pools").text
        assert (was_paused, is_paused) == (action == "resume", action == "pause"), "all pages show it"


def test_a_change_is_seen_right_after_the_form_of_another_process(
    stocked: Api, database: Database, settings: Settings
) -> None:
    with serving(database, settings) as second:
        browser = Browser(stocked).log_in()
        there = Browser(second)
        there.cookies = browser.cookies
        assert f'action="{POOL}/pause"' in there.get(POOL).text
        assert PAUSED not in there.get("/pools").text
        answer = browser.submit(f"{POOL}/pause", {"confirm": ""})
        there.cookies = browser.cookies
        assert f'action="{POOL}/resume"' in there.get(answer.headers["location"]).text
        assert PAUSED in there.get("/pools").text, "all pages show it"


def test_no_address_and_no_made_up_mark_make_a_visit_read_anew(stocked: Api, reads: Counter[str]) -> None:
    browser = Browser(stocked).log_in()
    for path in ("/pools", "/pools?done=paused", "/pools"):
        browser.get(path)
    for mark in (f"{int(time.time() * 1000):x}.{'0' * 32}", "x", ".", "1.1"):
        browser.cookies["prebuild_change"] = mark
        browser.get("/pools")
    assert reads["pools"] <= 2, "the seconds pass meanwhile"


def test_a_form_that_changes_nothing_and_a_log_out_make_no_visit_read_anew(stocked: Api, reads: Counter[str]) -> None:
    browser = Browser(stocked).log_in()
    for _ in range(5):
        browser.submit(f"{POOL}/resume", {"confirm": ""})
        browser.get("/pools")
        other = Browser(stocked).log_in()
        other.submit("/logout")
        browser.get("/pools")
    assert reads["pools"] <= 4, "the seconds pass meanwhile"


def test_an_address_alone_says_nothing_of_a_change(stocked: Api) -> None:
    browser = Browser(stocked).log_in()
    said = '<p class="flash'
    for path in (f"{POOL}?done=paused", "/pools?done=logged_out", "/pools?done=x"):
        assert said not in browser.get(path).text
    answer = browser.submit(f"{POOL}/pause", {"confirm": ""})
    assert said in browser.get(answer.headers["location"]).text
    assert said in Browser(stocked).get("/login?done=logged_out").text
