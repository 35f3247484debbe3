"""The pages beside that of the pools: all of them, empty, with what is hostile, and without a database."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest

from prebuild_tasks import clock
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.web.page.render import as_sentence, as_text
from tests.support.api import Api
from tests.support.browser import Browser
from tests.support.builders import staffed
from tests.support.markup import Markup
from tests.support.organizations import fill_organizations

EMPTY = {
    "/workspaces": "There are no workspaces.",
    "/waiting": "Nobody waits.",
    "/builds": "There are no builds.",
    "/workers": "No worker has announced itself",
    "/history": "token created",
    "/report": "There are no pools.",
}
ALL = (*EMPTY, "/health")
OF_ALL = ("/workers", "/health")
"""The pages about the whole installation."""
HOSTILE = '"><script>alert(1)</script>\u202e\x1b[2J'


@pytest.fixture
def stocked(database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    staffed(database, settings)
    claim(database, ClaimRequest(owner="ada", presets=["dev/small"], name="hers"))
    claim(database, ClaimRequest(owner="bob", presets=["ops/small"], name="his"))


@pytest.mark.parametrize("path", ALL)
def test_an_empty_page_says_what_to_expect(browser: Browser, path: str) -> None:
    answer = browser.log_in().get(path)
    assert answer.status_code == 200
    assert EMPTY.get(path, "found, causes first") in answer.text
    assert Markup(answer.text).wrong == []


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize("path", [*ALL, "/workspaces/ada/hers", "/report?period=week&preset=dev/small"])
def test_a_page_is_whole_and_has_nothing_inline(browser: Browser, path: str) -> None:
    answer = browser.log_in().get(path)
    assert answer.status_code == 200
    assert Markup(answer.text).wrong == []
    assert "style-src 'self'" in answer.headers["Content-Security-Policy"]
    assert re.search(rf'<a href="/{path.split("/")[1].partition("?")[0]}" aria-current="page">', answer.text)
    is_empty = EMPTY.get(path, "There are no pools.") in answer.text
    assert is_empty is (path in ("/waiting", "/history"))


@pytest.mark.parametrize("path", ALL)
def test_a_database_that_is_away_is_told_as_a_page(
    browser: Browser, database: Database, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def away(*_: object) -> None:
        raise UnreachableError("the database is at secret.example")

    browser.log_in().get(path)  # so that the session is remembered, and the page itself has to ask
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    for name in ("read", "snapshot", "revision"):
        monkeypatch.setattr(Database, name, away)
    if path == "/workers":
        monkeypatch.setattr(clock, "monotonic", lambda: now + 30)
    answer = browser.get(path)
    assert (answer.status_code, "The database does not answer." in answer.text) == (503, True)
    assert "secret.example" not in answer.text
    assert Markup(answer.text).wrong == []


@pytest.mark.usefixtures("stocked")
def test_what_is_about_everything_needs_a_token_without_a_restriction(api: Api) -> None:
    for restriction in ({"organization": "acme"}, {"presets": ("dev/small",)}, {"owner": "ada"}):
        browser = Browser(api).log_in(api.token("read", **restriction))
        shown = browser.get("/workspaces").text
        for path in ALL:
            answer = browser.get(path)
            assert (path, answer.status_code) == (path, 403 if path in OF_ALL else 200)
            assert (f'<a href="{path}"' in shown) is (path not in OF_ALL)


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize("path", ALL)
def test_hostile_queries_are_shown_as_text(browser: Browser, path: str) -> None:
    browser.log_in()
    for name in ("owner", "name", "preset", "workspace", "who", "event", "cursor", "state", "status", "period"):
        for text in (HOSTILE, '"><script>alert(1)</script>', "' onfocus='alert(1)", "a\0b"):
            answer = browser.get(f"{path}?{urlencode({name: text})}")
            assert answer.status_code in (200, 400, 404)
            assert not re.search("<script>alert|\u202e|[\x00\x1b]", answer.text)
            assert Markup(answer.text).wrong == []


@pytest.mark.parametrize(("text", "shown"), [("it ends", "It ends."), ("refused.", "Refused."), ("why?", "Why?")])
def test_a_sentence_begins_and_ends_as_one(text: str, shown: str) -> None:
    assert as_sentence(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("claim_wait", "claim wait"), ("claim", "claim"), ("CUDA_HOME is not set", "CUDA_HOME is not set"), ("", "")],
)
def test_codes_are_shown_in_words_and_texts_as_they_are(text: str, shown: str) -> None:
    assert as_text(text) == shown
