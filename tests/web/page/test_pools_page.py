"""The table of pools."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import Engine, event

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.web.page.pool_rows import TableRow
from prebuild_tasks.web.page.pools import draw_row
from prebuild_tasks.web.page.render import render_part
from tests.support.api import Api
from tests.support.browser import Browser
from tests.support.builders import fill, later_schedule, staffed
from tests.support.hooked_rows import HOOKS, HookedRows
from tests.support.past import PastEvents
from tests.support.pool_files import load_text

POOLS = """
schema: 1
organizations: [{name: acme}, {name: umbrella}]
templates:
  - name: dev
    organization: acme
    provisioner: simulated
    config: {}
    presets: [{name: small, desired: 2}, {name: big, desired: 3}]
  - name: web
    organization: umbrella
    provisioner: simulated
    config: {}
    presets:
      - {name: tiny, desired: 1}
      - {name: none, desired: 0}
"""


@pytest.fixture
def stocked(database: Database, settings: Settings) -> None:
    apply(
        database,
        settings,
        load_text(POOLS.replace("desired: 1}", f"desired: 1, {later_schedule(database, 4)}}}")),
        ApplyOptions(actor="test"),
    )
    staffed(database, settings)
    fill(database, settings, "dev/small")


@pytest.mark.usefixtures("stocked")
def test_pools_by_shortfall_with_their_hooks(browser: Browser) -> None:
    page = browser.log_in().get("/pools").text
    rows = HookedRows(page).rows
    assert HookedRows(page).pools[0] == "dev/big"
    assert {attributes["data-pool"] for _, attributes in rows} == {"dev/big", "dev/small", "web/none", "web/tiny"}
    assert {tag for tag, _ in rows} == {"tr"}
    assert all(set(HOOKS) <= {*attributes} for _, attributes in rows)
    small = next(attributes for _, attributes in rows if attributes["data-pool"] == "dev/small")
    assert (small["data-desired"], small["data-eligible"], small["data-reason"]) == ("2", "2", "none")
    assert 'href="/pools/dev/small"' in page
    assert "4 in all" in page
    assert browser.get("/").text.count("<tr id=") == 4


@pytest.mark.usefixtures("stocked")
def test_a_next_change_is_an_instant_in_utc(browser: Browser) -> None:
    page = browser.log_in().get("/pools?q=tiny").text
    assert re.search(
        r'[14] at <time datetime="[\d-]+T[\d:]+Z" title="[\d-]+ [\d:]+ UTC">[\d-]+ [\d:]+ UTC</time>', page
    )


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize(
    ("query", "pools"),
    [
        ({"q": "small"}, ["dev/small"]),
        ({"q": "DEV SMALL"}, ["dev/small"]),
        ({"template": "web"}, ["web/tiny", "web/none"]),
        ({"template": "web", "q": "none"}, ["web/none"]),
        ({"organization": "acme"}, ["dev/big", "dev/small"]),
        ({"reason": "paused"}, ["dev/big"]),
        ({"q": "nothing"}, []),
        ({"unknown": "x"}, ["dev/big", "web/tiny", "dev/small", "web/none"]),
    ],
)
def test_search_and_filters(browser: Browser, database: Database, query: dict[str, str], pools: list[str]) -> None:
    pause(database, "dev/big", actor="test", reason="cost")
    page = browser.log_in().get(f"/pools?{urlencode(query)}").text
    assert sorted(map(str, HookedRows(page).pools)) == sorted(pools)
    assert ("No pool matches." in page) is (not pools)
    for name, value in query.items():
        if name == "q":
            assert f'name="q" type="search" value="{value}"' in page
        elif name != "unknown":
            assert f"<option selected>{value}</option>" in page


@pytest.mark.usefixtures("stocked")
def test_a_pause_of_everything_is_told_once_with_its_button(browser: Browser, database: Database) -> None:
    pause(database, "dev/big", actor="eve", reason="cost")
    browser.log_in()
    assert '<div id="pools-paused" data-part hidden>' in browser.get("/pools").text
    pause(database, actor="ada", reason="<b>costs</b>")
    page = browser.get("/pools").text
    paused = page[page.index('<div id="pools-paused" data-part>') : page.index('<form class="filters"')]
    assert re.search(
        "Everything is paused by ada since <time.*, until it is resumed: &lt;b&gt;costs&lt;/b&gt;.", paused
    )
    assert "<code>prebuild resume</code>" in paused
    assert re.search(
        r'<form method="post" action="/pools/resume">\s*<input type="hidden" name="form_token" value="\w', paused
    )
    resume(database, actor="ada")
    assert "Everything is paused" not in browser.get("/pools").text


@pytest.mark.usefixtures("stocked")
def test_the_hit_rate_of_today(browser: Browser, database: Database) -> None:
    past = PastEvents(database, "dev/small")
    for hit in (True, True, True, False):
        past.claim(past.now, hit=hit)
    past.write()
    page = browser.log_in().get("/pools?q=small").text
    assert '<td title="4 claims">75 %' in page
    assert "4 claims" not in browser.get("/pools?q=big").text


@pytest.mark.usefixtures("stocked")
def test_a_superseded_version_has_no_row(browser: Browser, database: Database, settings: Settings) -> None:
    newer = load_text(POOLS.replace("config: {}", "config: {build: 1}"))
    apply(database, settings, newer, ApplyOptions(actor="test", yes=True))
    page = browser.log_in().get("/pools?q=small").text
    assert HookedRows(page).pools == ["dev/small"]
    assert 'data-eligible="0"' in page


@pytest.mark.usefixtures("stocked")
def test_a_row_is_drawn_once_for_everyone_until_it_changes(api: Api, database: Database) -> None:
    tokens = (api.admin, api.token("read"), api.token("read", organization="acme"), api.token("read", owner="ada"))
    browsers = [Browser(api).log_in(token) for token in tokens]
    draw_row.cache_clear()
    browsers[0].get("/pools")
    before = draw_row.cache_info().misses
    pause(database, "dev/big", actor="test", reason="cost")
    for browser in browsers:
        assert '<span class="badge paused">' in browser.get("/pools").text
    assert draw_row.cache_info().misses == before + 1


@pytest.mark.usefixtures("stocked")
def test_the_number_of_statements_does_not_grow(browser: Browser, database: Database, settings: Settings) -> None:
    sent: list[str] = []

    def note(*args: Any) -> None:
        sent.append(args[2])

    browser.log_in()
    event.listen(Engine, "before_cursor_execute", note)
    try:
        few = len(HookedRows(browser.get("/pools").text).pools)
        before = len(sent)
        more = "".join(f", {{name: more-{number}, desired: 1}}" for number in range(30))
        apply(
            database,
            settings,
            load_text(POOLS.replace("{name: big, desired: 3}", "{name: big, desired: 3}" + more)),
            ApplyOptions(actor="test"),
        )
        sent.clear()
        assert len(HookedRows(browser.get("/pools").text).pools) == few + 30
        assert 0 < len(sent) <= before
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_without_pools_the_page_says_what_to_do(browser: Browser) -> None:
    page = browser.log_in().get("/pools").text
    assert "There are no pools." in page
    assert "prebuild apply" in page


@pytest.mark.usefixtures("stocked")
def test_only_what_is_within_reach(api: Api) -> None:
    page = Browser(api).log_in(api.token("read", organization="acme")).get("/pools").text
    assert sorted(map(str, HookedRows(page).pools)) == ["dev/big", "dev/small"]
    page = Browser(api).log_in(api.token("read", presets=("web/tiny",))).get("/pools").text
    assert HookedRows(page).pools == ["web/tiny"]


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize(
    "text", ['"><script>alert(1)</script>', "\u202etxt.exe", "\x1b[2J", "' onfocus='alert(1)", "{{ 7*7 }}"]
)
def test_hostile_queries_are_shown_as_text(browser: Browser, text: str) -> None:
    browser.log_in()
    for name in ("q", "template", "reason", "done", "unknown"):
        page = browser.get(f"/pools?{urlencode({name: text})}").text
        assert text not in page or text == "{{ 7*7 }}", "which is as harmless as it stands"
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert "\x1b" not in page
        assert "onfocus='" not in page
        assert ">49<" not in page


def test_hostile_names_are_shown_as_text() -> None:
    hostile = '"><script>alert(1)</script>\u202e\x1b[2J'
    row = TableRow(
        ref=PresetRef(hostile, hostile), organization=hostile, desired=1, eligible=0, second_choices=0, claimed=0,
        starting=0, failed=0, failed_deletions=0, state="empty", reason=hostile, sentence=hostile, next_action=hostile,
        last_error=hostile, next_change_at=None, next_desired=0, timezone="UTC", hit_rate=0.5, claims=2,
    )  # fmt: skip
    page = render_part("pool_row", "pool_row", row, "")
    assert "<script" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert page.count("\\u202e") >= 3
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert len(HookedRows(page).rows) == 1
