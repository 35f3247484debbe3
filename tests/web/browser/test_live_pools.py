"""The table of pools in Chromium while its pools change: no reload, and nothing of the viewer's is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from prebuild_tasks.access.sessions import new_login_code
from prebuild_tasks.access.tokens import create_token, revoke_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.web.page import pools
from tests.support.api import NO_REDIS
from tests.support.builders import fill, staffed
from tests.support.chromium import Visitor, browsing
from tests.support.pool_files import load_text
from tests.support.stocked_door import listening
from tests.support.wait import wait_until

pytestmark = pytest.mark.browser

POOLS = """
schema: 1
templates:
  - name: dev
    provisioner: simulated
    config: {}
    presets: [{name: small, desired: 2}, {name: big, desired: 3}%s]
"""
MORE = ", {name: new, desired: 1}"
CONNECTION = "document.getElementById('connection')?.textContent ?? ''"
ORDER = "[...document.querySelectorAll('[data-pool]')].map((row) => row.dataset.pool).join()"
HIDE = """
Object.defineProperty(document, "hidden", {configurable: true, get: () => %s});
document.dispatchEvent(new Event("visibilitychange"));
"""

ROWS_EVER = """
window.rowsEver = new Set();
new MutationObserver(() => {
  for (const row of document.querySelectorAll("[data-pool]")) rowsEver.add(row.dataset.pool);
}).observe(document, {childList: true, subtree: true});
"""
"""Notes each pool that a page ever shows."""


@dataclass(frozen=True)
class Stage:
    """A table of pools that is open in a browser."""

    database: Database
    settings: Settings
    url: str
    page: Visitor

    def declare(self, more: str = "") -> None:
        apply(self.database, self.settings, load_text(POOLS % more), ApplyOptions(actor="test", yes=True, prune=True))

    def fill(self, pool: str) -> None:
        staffed(self.database, self.settings)
        fill(self.database, self.settings, pool)

    def claim(self, owner: str, pool: str) -> None:
        claim(self.database, ClaimRequest(owner=owner, presets=[pool], name="mine"))


def eligible(pool: str) -> str:
    return f"document.querySelector('[data-pool=\"{pool}\"]')?.dataset.eligible"


def shows(page: Visitor, script: str, value: object) -> None:
    wait_until(lambda: page.run(script) == value, what=f"{value} by {script}")


def streams(page: Visitor) -> int:
    return sum("/live?" in address for address in page.requested)


def be_live(page: Visitor) -> None:
    shows(page, CONNECTION, "Live")
    page.run("window.loadedOnce = true")


def show_live(page: Visitor, address: str) -> None:
    page.open(address)
    be_live(page)


@contextmanager
def opened(database: Database, directory: Path, page: Visitor) -> Iterator[Stage]:
    """Serve for as long as the block lasts, with the table of pools open in a browser."""
    settings = Settings(data_dir=directory / "data", host="here", database_url=database.url, redis_url=NO_REDIS)
    token = create_token(database, NewTokenRequest(name="ada", scope=Scope.ADMIN), actor="test")
    with listening(settings) as url:
        stage = Stage(database, settings, url, page)
        stage.declare()
        stage.fill("dev/small")
        page.open(f"{url}/login?code={new_login_code(database, token.view.id)}")
        page.page.get_by_role("button", name="Log in").click()
        page.page.wait_for_url(f"{url}/pools")
        be_live(page)
        yield stage


@pytest.fixture
def stage(database: Database, tmp_path: Path) -> Iterator[Stage]:
    with browsing() as page, opened(database, tmp_path, page) as stage:
        yield stage
        assert page.complaints == []


def test_changes_are_shown_and_focus_and_selection_stay(stage: Stage) -> None:
    page = stage.page
    assert page.run(ORDER) == "dev/big,dev/small"
    page.run("""
        window.link = document.querySelector('[data-pool="dev/big"] a');
        link.focus();
        getSelection().selectAllChildren(link);
    """)
    stage.claim("ada", "dev/small")
    shows(page, eligible("dev/small"), "1")
    stage.fill("dev/big")
    shows(page, ORDER, "dev/small,dev/big")
    assert page.run(eligible("dev/big")) == "3"
    assert page.run("document.activeElement === link && link.isConnected")
    assert page.run("String(getSelection())") == "dev/big"
    shows(page, "document.getElementById('pools-summary').textContent", "2 in all, 1 short")
    stage.declare(MORE)
    shows(page, ORDER, "dev/new,dev/small,dev/big")
    stage.declare()
    shows(page, ORDER, "dev/small,dev/big")
    assert page.run("window.loadedOnce && document.activeElement === link")
    assert streams(page) == 1


def test_what_the_viewer_looks_at_stays_in_its_place(stage: Stage) -> None:
    page = stage.page
    page.run("document.body.style.paddingBottom = '4000px'")
    page.run("scrollTo(0, document.querySelector('[data-pool=\"dev/small\"]').getBoundingClientRect().top - 10)")
    place = "Math.round(document.querySelector('[data-pool=\"dev/small\"]').getBoundingClientRect().top)"
    before, scrolled = page.run(place), page.run("scrollY")
    stage.fill("dev/big")
    shows(page, ORDER, "dev/big,dev/small")
    shows(page, eligible("dev/big"), "3")
    stage.declare(MORE)
    shows(page, ORDER, "dev/new,dev/big,dev/small")
    assert page.run("scrollY") > scrolled
    assert abs(page.run(place) - before) <= 1


def test_a_filter_holds_for_what_comes(stage: Stage) -> None:
    page = stage.page
    show_live(page, f"{stage.url}/pools?q=new")
    assert page.run("document.querySelector('.list').checkVisibility()") is False
    stage.declare(MORE)
    shows(page, ORDER, "dev/new")
    assert page.run("document.querySelector('.list').checkVisibility()")
    assert page.run("document.getElementById('pools-empty').checkVisibility()") is False
    stage.declare()
    shows(page, ORDER, "")
    shows(page, "document.getElementById('pools-empty').checkVisibility()", True)


def test_the_tabs_of_a_browser_share_one_stream(stage: Stage) -> None:
    first = stage.page
    second = first.another()
    show_live(second, f"{stage.url}/pools")
    stage.claim("ada", "dev/small")
    for page in (first, second):
        shows(page, eligible("dev/small"), "1")
    assert (streams(first), streams(second)) == (1, 0)
    first.run(HIDE % "true")
    stage.claim("bob", "dev/small")
    shows(second, eligible("dev/small"), "0")
    assert streams(second) == 1, "the other one has taken over"
    assert first.run(eligible("dev/small")) == "1", "a hidden tab does nothing"
    first.run(HIDE % "false")
    shows(first, eligible("dev/small"), "0")
    assert streams(first) == 1
    assert first.run("window.loadedOnce")
    assert second.run("window.loadedOnce")
    assert second.complaints == []


def test_a_window_shows_nothing_of_another_session(stage: Stage) -> None:
    request = NewTokenRequest(name="bob", scope=Scope.READ, presets=("dev/big",))
    token = create_token(stage.database, request, actor="test").text
    second = stage.page.another()
    second.page.add_init_script(ROWS_EVER)
    second.open(f"{stage.url}/pools")
    second.page.get_by_role("button", name="Log out").click()
    second.page.fill("#token", token)
    second.page.get_by_role("button", name="Log in").click()
    second.page.wait_for_url(f"{stage.url}/pools")
    be_live(second)
    stage.fill("dev/big")
    shows(second, eligible("dev/big"), "3")
    assert second.run("[...rowsEver].join()") == "dev/big"
    wait_until(lambda: stage.page.run(CONNECTION).startswith("Logged out."), what="the end of the first session")
    stage.page.run(HIDE % "true")
    stage.page.run(HIDE % "false")
    stage.declare(MORE)
    stage.fill("dev/small")
    assert stage.page.run(CONNECTION).startswith("Logged out.")
    assert second.run("[...rowsEver].join()") == "dev/big"
    assert second.complaints == []


def test_a_page_says_since_when_it_is_disconnected(database: Database, tmp_path: Path) -> None:
    with browsing() as page:
        with opened(database, tmp_path, page):
            pass
        wait_until(lambda: page.run(CONNECTION).startswith("Disconnected since "), what="the end of the server")
        assert page.run("window.loadedOnce")
        assert page.run(ORDER) == "dev/big,dev/small"


def test_a_page_says_since_when_and_why_it_is_not_up_to_date(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def be_away(_door: object) -> None:
        raise UnreachableError("it refused the connection")

    with monkeypatch.context() as patched:
        patched.setattr(pools, "drawn_pools", be_away)
        wait_until(lambda: stage.page.run(CONNECTION).startswith("Not up to date since "), what="the outage")
        assert stage.page.run(CONNECTION).endswith(", trying again: the database does not answer")
        assert stage.page.run("document.querySelector('#connection.away').getAttribute('role')") == "status"
    shows(stage.page, CONNECTION, "Live")
    stage.claim("ada", "dev/small")
    shows(stage.page, eligible("dev/small"), "1")
    assert stage.page.run("window.loadedOnce")
    assert streams(stage.page) == 1


def test_a_page_says_that_its_session_has_ended(stage: Stage) -> None:
    revoke_token(stage.database, "ada", actor="test")
    wait_until(lambda: stage.page.run(CONNECTION).startswith("Logged out."), what="the end of the session")
    shows(stage.page, "navigator.locks.query().then(({ held }) => held.length)", 0)
    assert stage.page.run("document.querySelector('#connection a').getAttribute('href')") == f"{stage.url}/pools"
    assert stage.page.run("window.loadedOnce")


def test_a_page_says_why_it_was_refused(stage: Stage) -> None:
    second = stage.page.another()
    refusal = {"status": 429, "content_type": "text/html", "body": "<h1>There are too many</h1>"}
    second.page.route("**/live?*", lambda route: route.fulfill(**refusal))
    stage.page.run(HIDE % "true")
    second.open(f"{stage.url}/pools")
    wait_until(lambda: second.run(CONNECTION).endswith("trying again: There are too many"), what="the reason")


def test_a_pause_is_shown(stage: Stage) -> None:
    state = "document.querySelector('[data-pool=\"dev/small\"] .badge').textContent"
    pause(stage.database, "dev/small", actor="test", reason="cost")
    shows(stage.page, state, "paused")
    resume(stage.database, "dev/small", actor="test")
    shows(stage.page, state, "full")
