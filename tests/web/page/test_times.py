"""Each instant that a page shows is an element of its own, which the script shows in the viewer's zone."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from prebuild_tasks import clock
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.schema import tables as m
from prebuild_tasks.web.page.render import render_part, with_times
from prebuild_tasks.workspaces import extend_until
from tests.support.browser import Browser
from tests.support.builders import PRESET, declare, fill, staffed

PATH = "/pools/dev/small"
ELEMENTS = re.compile(r"<(time|title)\b.*?</\1>|<[^>]*>", re.DOTALL)
BARE = re.compile(r"\d\d:\d\d|\d{4}-\d\d-\d\d")


@pytest.fixture
def busy(database: Database, settings: Settings) -> None:
    declare(
        database, settings, 2,
        extra='claimed_ttl: 8h, timezone: Europe/Berlin, schedules: [{cron: "* 8-17 * * *", desired: 4}]',
    )  # fmt: skip
    staffed(database, settings)
    fill(database, settings)
    claim(database, ClaimRequest(owner="ada", presets=[PRESET], name="hers"))
    extend_until(database, "ada/hers", clock.utcnow() + timedelta(days=3), actor="ada")
    pause(database, PRESET, actor="ada", reason="<b>moves</b>", until=clock.utcnow() + timedelta(days=2))
    with database.write() as connection:
        connection.execute(update(m.Preset).values(desired=5))


def bare(page: str) -> list[str]:
    """Return the times that a page shows outside of elements for them; those of the axes of plots are the script's."""
    text = ELEMENTS.sub(" ", re.sub(r"<g data-since=.*?</g></g>", "", page, flags=re.DOTALL))
    return BARE.findall(text)


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("path", [PATH, "/pools", "/history", "/workspaces/ada/hers", "/workspaces", "/builds"])
def test_no_instant_of_a_page_is_only_text(browser: Browser, path: str) -> None:
    page = browser.log_in().get(path).text
    assert "<time datetime=" in page
    assert bare(page) == []


@pytest.mark.usefixtures("busy")
def test_sentences_hold_the_instants_that_they_name(browser: Browser) -> None:
    browser.log_in()
    element = r'<time datetime="[\d-]+T[\d:]+Z" title="[\d-]+ [\d:]+ UTC">[^<]+</time>'
    page = browser.get(PATH).text
    assert re.search(rf"paused by ada since {element} \(.*\), until {element} \(in .*\): &lt;b&gt;moves", page)
    assert re.search(rf"; \d from {element} \(in ", page), "the schedule's change"
    assert re.search(rf"until {element}", browser.get("/history").text)
    asked = browser.submit(f"{PATH}/pause", {"until": "2060-01-02T03:04"}).text
    assert re.search(rf"created or deleted until {element}\.", asked)
    assert bare(asked) == []


@pytest.mark.usefixtures("busy")
def test_a_field_for_an_instant_says_whose_clocks_it_goes_by(browser: Browser) -> None:
    browser.log_in()
    for page in (browser.get(PATH).text, browser.submit("/workspaces/ada/hers/extend").text):
        label = r"<label for=\"until\">[^<(]+ \(<span data-zone>UTC</span>\)"
        assert bool(re.search(label, page)) == ('type="datetime-local"' in page)


@pytest.mark.parametrize(
    "value", ["<script> \u202e", "<i>2026-03-02 10:32 UTC</i>", "2026-99-02 10:32 UTC", "x" * 9, 7]
)
def test_the_rest_of_a_sentence_stays_escaped(value: Any) -> None:
    text = str(with_times(value))
    assert [part for part in ("<i", "<script", "\u202e") if part in text] == []
    assert text.count("<time") == ("2026-03-02" in str(value))


def test_a_cell_of_a_table_marks_its_instants() -> None:
    cell = render_part("parts", "cell", "Note", "retried at 2026-03-02T10:32:05+00:00 & later")
    assert '<time datetime="2026-03-02T10:32:05Z" title="2026-03-02 10:32:05 UTC">' in cell
    assert "&amp; later" in cell
