"""Other people's pages in Chromium: they cannot frame a page, send its forms, or use cookies that are not in force."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Route, expect
from sqlalchemy import func, select

from prebuild_tasks.access.types import Scope
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from tests.support.builders import jump
from tests.support.chromium import Visitor
from tests.support.pool_files import load_text
from tests.support.wait import wait_until
from tests.web.browser.served import Served

pytestmark = pytest.mark.browser

POOLS = """
schema: 1
templates: [{name: dev, provisioner: simulated, config: {}, presets: [{name: small, desired: 0}]}]
"""
POOL = "/pools/dev/small"
ELSEWHERE = ("http://elsewhere.test", "http://127.0.0.1:61234")
"""Another site; and another origin of the same site, from which browsers send the cookies of this one."""
HOURS = 3600


@pytest.fixture
def stocked(served: Served) -> Served:
    served.doors.asked(lambda *where: apply(*where, load_text(POOLS), ApplyOptions(actor="test")))
    return served


def show_elsewhere(visits: Visitor, origin: str, content: str) -> None:
    """Open a page of another origin."""

    def answer(route: Route) -> None:
        route.fulfill(content_type="text/html", body=f"<!doctype html><html lang=en><title>elsewhere</title>{content}")

    visits.page.context.route(f"{origin}/**", answer)
    visits.open(f"{origin}/")


def come_back(visits: Visitor) -> None:
    """Forget the complaints about the page from elsewhere, and the requests for it."""
    visits.complaints.clear()
    visits.requested.clear()


@pytest.mark.parametrize("origin", ELSEWHERE)
@pytest.mark.parametrize("is_guarded", [True, False], ids=["as served", "without its policy"])
def test_a_page_is_not_framed(stocked: Served, origin: str, is_guarded: bool) -> None:
    visits = stocked.logged_in(Scope.ADMIN)

    def unguarded(route: Route) -> None:
        answer = route.fetch()
        kept = {name: value for name, value in answer.headers.items() if name != "content-security-policy"}
        route.fulfill(response=answer, headers=kept)

    if not is_guarded:
        visits.page.context.route(f"{stocked.url}{POOL}", unguarded)
    show_elsewhere(visits, origin, f'<iframe src="{stocked.url}{POOL}" width="900" height="600"></iframe>')
    [frame] = visits.page.main_frame.child_frames
    frame.wait_for_load_state()
    shown = frame.url, frame.locator("main").count()
    assert shown == (("chrome-error://chromewebdata/", 0) if is_guarded else (stocked.url + POOL, 1))
    come_back(visits)


def paused(served: Served) -> Any:
    def read(database: Any, _: object) -> Any:
        with database.read() as connection:
            return connection.execute(select(m.Preset.paused)).scalar_one()

    return served.doors.asked(read)


def sessions(served: Served) -> int:
    def count(database: Any, _: object) -> int:
        with database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(m.PageSession)).scalar_one())

    return served.doors.asked(count)


@pytest.mark.parametrize("origin", ELSEWHERE)
@pytest.mark.parametrize("path", [f"{POOL}/pause", "/login", "/logout"])
def test_a_form_from_elsewhere_changes_nothing(stocked: Served, origin: str, path: str) -> None:
    """It even has the token of the session's forms, and a token to log in with."""
    visits, page_of_others = stocked.logged_in(Scope.ADMIN, name="grace"), stocked.token(Scope.ADMIN, "mallory")
    form_token = visits.page.locator("[name=form_token]").first.input_value()
    before = sessions(stocked)
    fields = {"form_token": form_token, "token": page_of_others, "confirm": "yes", "reason": "theirs", "next": "/pools"}
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    form = f'<form method="post" action="{stocked.url}{path}">{inputs}<button>Win a prize</button></form>'
    show_elsewhere(visits, origin, form)
    visits.page.get_by_role("button").click()
    expect(visits.page).to_have_title("403 · prebuild")
    come_back(visits)
    assert (paused(stocked), sessions(stocked)) == (None, before)
    visits.open(f"{stocked.url}/pools")
    expect(visits.page.locator(".who")).to_contain_text("grace")


def cookie_of(visits: Visitor) -> Any:
    [cookie] = visits.page.context.cookies()
    return cookie


def test_a_cookie_that_was_kept_after_the_log_out_is_nobody(stocked: Served) -> None:
    visits = stocked.logged_in(Scope.ADMIN)
    kept = cookie_of(visits)
    visits.open(f"{stocked.url}{POOL}")
    other = visits.another()
    other.open(f"{stocked.url}/pools")
    other.page.get_by_role("button", name="Log out").click()
    other.page.get_by_text("You are logged out.").wait_for()
    visits.page.context.add_cookies([kept])
    visits.page.locator("#do-pause button").click()
    expect(visits.page).to_have_title("Log in · prebuild")
    assert paused(stocked) is None
    assert visits.page.context.cookies() == [], "the browser is told to forget it"


def test_a_session_that_was_idle_for_long_is_nobody(stocked: Served) -> None:
    visits = stocked.logged_in(Scope.ADMIN)
    visits.open("about:blank")  # a page that is seen would be use
    wait_until(lambda: stocked.streams() == 0, what="the end of the stream", timeout=20)
    stocked.doors.asked(lambda database, _: jump(database, 9 * HOURS))
    history = f"{stocked.url}/history"

    def is_over() -> bool:
        return visits.page.context.request.get(history, max_redirects=0).status == 303

    wait_until(is_over, what="the end of the session")
    visits.open(history)
    expect(visits.page).to_have_title("Log in · prebuild")
    assert visits.page.url.endswith("/login?next=%2Fhistory")


@pytest.mark.parametrize("change", [lambda value: value[::-1], lambda _: "x" * 43, lambda _: "pbt_" + "x" * 43])
def test_a_foreign_cookie_is_nobody(stocked: Served, change: Any) -> None:
    other = stocked.logged_in(Scope.ADMIN)
    cookie = cookie_of(other)
    visits = stocked.visitor()
    visits.page.context.add_cookies([{**cookie, "value": change(cookie["value"])}])
    visits.open(f"{stocked.url}{POOL}")
    expect(visits.page).to_have_title("Log in · prebuild")
    assert visits.page.context.cookies() == []
