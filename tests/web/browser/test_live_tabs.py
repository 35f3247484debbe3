"""The tabs of a browser in Chromium: all that are seen share one stream, and each of them can still load pages."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route

from prebuild_tasks.access.types import Scope
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.pools.operations import pause
from tests.support.chromium import Visitor
from tests.support.door import FULL, NONE
from tests.support.wait import wait_until
from tests.web.browser.served import Served

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

CONNECTION = "document.getElementById('connection').textContent"
HIDE = """
Object.defineProperty(document, "hidden", {configurable: true, get: () => %s});
document.dispatchEvent(new Event("visibilitychange"));
"""
PATHS = (
    "/pools", f"/pools/{FULL}", f"/pools/{NONE}", "/workspaces", "/waiting", "/builds", "/workers", "/pools?q=none",
)  # fmt: skip
"""Eight views. Browsers allow six connections to a host."""
HANDS_OVER_S = 2.0
NOTE_CONNECTION = """
window.told = "";
new MutationObserver(() => {
  const text = document.getElementById("connection").textContent;
  window.told ||= text === "Live" ? "" : text;
}).observe(document.getElementById("connection"), {childList: true, characterData: true, subtree: true});
"""
"""Keeps the first thing that the line says when it is no longer live."""


def open_tabs(served: Served, paths: tuple[str, ...]) -> list[Visitor]:
    """Open a tab for each page, and wait until all of them are live."""
    served.doors.stock(2)
    first = served.logged_in(Scope.ADMIN)
    tabs = [first, *(first.another() for _ in paths[1:])]
    for tab, path in zip(tabs, paths, strict=True):
        tab.open(served.url + path)
    for tab in tabs:
        be_live(tab)
        tab.run("window.loadedOnce = true")
    return tabs


def be_live(tab: Visitor) -> None:
    wait_until(lambda: tab.run(CONNECTION) == "Live", what=f"{tab.page.url} live", timeout=20)


def asked(*tabs: Visitor) -> list[str]:
    """Return the addresses of the streams that tabs have asked for."""
    for tab in tabs:
        tab.run("0")  # requests are noted while something else is asked
    return [address for tab in tabs for address in tab.requested if "/live?" in address]


def be_paused(tab: Visitor) -> None:
    """Wait until the page of a pool, or the table, shows that it is paused."""
    tab.page.locator("[data-pool] .badge.paused, #pool-why form[action$='/resume']").first.wait_for()


def be_one_stream(served: Served) -> None:
    wait_until(lambda: served.streams() == 1, what="one stream", timeout=20)


def set_paused(served: Served, pool: str) -> None:
    served.doors.asked(lambda database, _: pause(database, pool, actor="bob", reason="cost"))


def test_eight_tabs_share_a_stream_and_go_on_loading_pages(served: Served) -> None:
    tabs = open_tabs(served, PATHS)
    be_one_stream(served)
    set_paused(served, FULL)
    set_paused(served, NONE)
    for tab in (*tabs[:3], tabs[7]):
        be_paused(tab)
    served.doors.asked(lambda database, _: claim(database, ClaimRequest(owner="ada", presets=[FULL])))
    tabs[3].page.locator("#workspaces").get_by_text("ada", exact=True).wait_for()
    assert all(tab.run("loadedOnce") for tab in tabs)
    for tab in tabs:
        tab.open(f"{served.url}/history")
        assert tab.page.title().startswith("History")
    be_one_stream(served)
    assert [text for tab in tabs for text in tab.complaints] == []


def test_another_tab_takes_over_from_the_one_that_is_closed(served: Served) -> None:
    first, second, third = open_tabs(served, ("/pools", f"/pools/{FULL}", f"/pools/{NONE}"))
    be_one_stream(served)
    assert asked(second, third) == []
    first.page.close()
    closed_at = monotonic()
    wait_until(lambda: asked(second, third), what="a stream")
    assert monotonic() - closed_at < HANDS_OVER_S
    set_paused(served, FULL)
    set_paused(served, NONE)
    for tab in (second, third):
        be_paused(tab)
        assert tab.run("loadedOnce")
        assert tab.complaints == []
    be_one_stream(served)


def test_hidden_tabs_take_no_part(served: Served) -> None:
    first, second = open_tabs(served, ("/pools", f"/pools/{FULL}"))
    second.run(HIDE % "true")
    wait_until(lambda: asked(first)[-1].count("view=") == 1, what="the view to be let go", timeout=20)
    set_paused(served, FULL)
    be_paused(first)
    assert second.page.get_by_role("button", name="Resume").count() == 0
    second.run(HIDE % "false")
    be_paused(second)
    assert second.run("loadedOnce")
    assert asked(second) == []
    for tab in (first, second):
        tab.run(HIDE % "true")
    wait_until(lambda: served.streams() == 0, what="the end of the stream", timeout=20)


def test_a_view_that_is_refused_keeps_no_other_from_being_live(served: Served) -> None:
    (first,) = open_tabs(served, ("/pools",))
    second = first.another()

    def fulfill(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("preset%3Dsmall", "preset%3Dgone"))

    second.page.route(f"**/pools/{NONE}", fulfill)
    second.open(f"{served.url}/pools/{NONE}")
    wait_until(lambda: second.run(CONNECTION).endswith("trying again: there is no preset none/gone"), what="the reason")
    assert second.run(CONNECTION).startswith("Not up to date since ")
    assert second.run("document.getElementById('connection').className") == "away"
    be_live(first)
    set_paused(served, FULL)
    be_paused(first)
    be_one_stream(served)


def test_a_page_that_hears_nothing_says_so_and_asks_again(served: Served) -> None:
    """As after a laptop has slept, or behind a proxy that is gone: no error tells of it."""
    served.doors.stock(2)
    visits = served.logged_in(Scope.ADMIN)
    visits.page.clock.install()
    visits.open(f"{served.url}/pools/{FULL}")
    be_live(visits)
    visits.run(NOTE_CONNECTION)
    visits.page.clock.fast_forward("00:50")
    wait_until(lambda: len(asked(visits)) > 1, what="another stream")
    be_live(visits)
    assert visits.run("window.told").startswith("Disconnected since ")
    set_paused(served, FULL)
    be_paused(visits)
    be_one_stream(served)


def test_all_tabs_tell_of_a_log_out(served: Served) -> None:
    first, second, third = open_tabs(served, ("/pools", f"/pools/{FULL}", f"/pools/{NONE}"))
    third.run(HIDE % "true")
    first.page.get_by_role("button", name="Log out").click()
    first.page.get_by_text("You are logged out.").wait_for()
    for tab in (second, third):
        wait_until(lambda tab=tab: tab.run(CONNECTION).startswith("Logged out"), what="the end", timeout=10)
    second.page.get_by_role("button", name="Log out").click()
    second.page.fill("#token", served.token(Scope.ADMIN, "again"))
    second.page.get_by_role("button", name="Log in").click()
    be_live(second)


def test_a_log_out_that_fails_ends_no_other_tab(served: Served) -> None:
    first, second = open_tabs(served, ("/pools", f"/pools/{FULL}"))
    first.page.route("**/logout", lambda route: route.fulfill(status=503, body="busy"))
    first.page.get_by_role("button", name="Log out").click()
    first.page.get_by_text("busy").wait_for()
    be_live(second)
    set_paused(served, FULL)
    be_paused(second)
    first.complaints.clear()  # the console tells of the answer
