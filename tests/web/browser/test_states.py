"""Pages that are not as usual: loading, disconnected, empty, refused, in error, about to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from tests.support.api import NO_REDIS
from tests.support.chromium import Scheme, Visitor, visitor
from tests.support.pool_files import load_text
from tests.support.stocked_door import listening
from tests.web.browser.axe import barriers

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

POOL = "a-template-with-quite-a-long-name/a-preset-whose-name-is-long-too"
POOLS = f"""
schema: 1
templates:
  - name: {POOL.partition("/")[0]}
    provisioner: simulated
    config: {{}}
    presets: [{{name: {POOL.partition("/")[2]}, desired: 3}}]
"""
LISTS = ("/pools", "/workspaces", "/waiting", "/builds", "/workers", "/history", "/health", "/report")
both_schemes = pytest.mark.parametrize("scheme", ["light", "dark"])


@dataclass(frozen=True)
class Stage:
    """An installation without pools, and a browser before it."""

    database: Database
    settings: Settings
    url: str
    visits: Visitor

    def log_in(self, scope: Scope = Scope.ADMIN, organization: str = "") -> None:
        request = NewTokenRequest(name=f"grace-{scope.value}", scope=scope, organization=organization)
        self.visits.open(f"{self.url}/login")
        self.visits.page.fill("#token", create_token(self.database, request, actor="test").text)
        self.visits.page.get_by_role("button", name="Log in").click()
        self.visits.page.wait_for_url(f"{self.url}/pools")

    def declare(self) -> None:
        apply(self.database, self.settings, load_text(POOLS), ApplyOptions(actor="test"))

    def require_good(self, scheme: Scheme) -> None:
        """Fail if the page has a barrier, or sticks out of a small screen."""
        for width in (1280, 360):
            self.visits.show_as(width, scheme)
            assert self.visits.run("document.documentElement.scrollWidth <= innerWidth"), width
            assert barriers(self.visits) == [], width


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def stage(database: Database, tmp_path: Path, browser: Browser) -> Iterator[Stage]:
    settings = Settings(data_dir=tmp_path / "data", host="here", database_url=database.url, redis_url=NO_REDIS)
    with listening(settings) as url, visitor(browser) as visits:
        yield Stage(database, settings, url, visits)
        assert visits.foreign(url) == []


@both_schemes
def test_a_log_in_that_fails(stage: Stage, scheme: Scheme) -> None:
    stage.visits.open(f"{stage.url}/login")
    stage.visits.page.fill("#token", "pbt_nonsense")
    stage.visits.page.get_by_role("button", name="Log in").click()
    expect(stage.visits.page.get_by_role("alert")).to_contain_text("Not logged in: ")
    expect(stage.visits.page.locator("#token")).to_have_attribute("aria-invalid", "true")
    stage.require_good(scheme)


@both_schemes
def test_empty_lists(stage: Stage, scheme: Scheme) -> None:
    stage.log_in()
    for path in LISTS:
        stage.visits.open(stage.url + path)
        stage.require_good(scheme)
    stage.declare()
    stage.visits.open(f"{stage.url}/pools?q=no-such-pool")
    expect(stage.visits.page.get_by_role("heading", name="No pool matches.")).to_be_visible()
    stage.require_good(scheme)


@both_schemes
def test_a_page_that_is_not_there_and_one_that_is_refused(stage: Stage, scheme: Scheme) -> None:
    stage.log_in(Scope.READ, organization="default")
    for path, status in ((f"/pools/{'x' * 60}/y", 404), ("/health", 403)):
        stage.visits.open(stage.url + path)
        expect(stage.visits.page).to_have_title(f"{status} · prebuild")
        expect(stage.visits.page.get_by_role("link", name="Go to the pools")).to_be_visible()
        stage.require_good(scheme)


@both_schemes
def test_a_database_that_is_away(stage: Stage, scheme: Scheme, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise UnreachableError("the database is at secret.example")

    stage.log_in()
    page, path = stage.visits.page, "/history?who=nobody&event=%3Cb%3E"
    with monkeypatch.context() as patch:
        for name in ("read", "snapshot", "revision"):
            patch.setattr(Database, name, away)
        stage.visits.open(stage.url + path)
        expect(page).to_have_title("503 · prebuild")
        expect(page.get_by_role("heading", level=1)).to_have_text("The database does not answer.")
        stage.require_good(scheme)
    page.get_by_role("link", name="Try again").click()
    page.wait_for_url(stage.url + path)
    expect(page.get_by_role("heading", name="No event matches.")).to_be_visible()


@both_schemes
def test_a_change_before_it_is_confirmed(stage: Stage, scheme: Scheme) -> None:
    stage.log_in()
    stage.declare()
    page = stage.visits.page
    stage.visits.open(f"{stage.url}/pools/{POOL}")
    page.locator("#do-invalidate button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Invalidate {POOL}?")
    stage.require_good(scheme)
    page.get_by_role("link", name="Back, and change nothing").click()
    page.get_by_label("Until").fill("2001-01-01T10:00")
    page.locator("#do-pause button").click()
    page.locator("button[name=confirm]").click()
    expect(page.get_by_role("alert")).to_contain_text("would have ended at 1 Jan 2001, 10:00")
    stage.require_good(scheme)


@both_schemes
@pytest.mark.parametrize("is_away", [False, True], ids=["connecting", "disconnected"])
def test_the_connection_is_told_wherever_the_viewer_is_on_the_page(stage: Stage, scheme: Scheme, is_away: bool) -> None:
    """A page that is live says so at its end; before that and after that it says so over what is on the screen."""
    stage.log_in()
    stage.declare()
    page, text = stage.visits.page, "Disconnected since" if is_away else "Connecting…"
    page.get_by_text("Live", exact=True).wait_for()

    def hold(route: Route) -> None:
        if is_away:
            route.abort()

    page.route("**/live?*", hold)
    stage.visits.open(f"{stage.url}/pools/{POOL}")
    stage.visits.run("document.body.style.paddingBottom = '4000px'")
    for at in ("0", "document.body.scrollHeight / 2"):
        stage.visits.run(f"scrollTo(0, {at})")
        expect(page.get_by_text(text)).to_be_in_viewport()
    stage.require_good(scheme)
    page.unroute_all()
