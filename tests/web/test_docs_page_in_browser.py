"""The page of the API's documentation in a browser, as `prebuild serve` answers it with its headers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.web.api.app import OPERATIONS
from tests.support.api import NO_REDIS
from tests.support.chromium import Page, browsing
from tests.support.stocked_door import listening
from tests.support.wait import wait_until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
STATUS = "document.getElementById('said').textContent"
SUMMARIES = "[...document.querySelectorAll('#routes summary')].map(it => it.textContent)"


@pytest.fixture
def url(database: Database, settings: Settings) -> Iterator[str]:
    served = settings.model_copy(update={"database_url": database.url, "redis_url": NO_REDIS})
    with listening(served) as url:
        yield url


@pytest.fixture
def page(url: str) -> Iterator[Page]:
    with browsing() as page:
        page.open(f"{url}/docs")
        yield page


def present(page: Page, token: str) -> None:
    """Enter a token, and send the form as its button does."""
    page.run(f"document.getElementById('token').value = {json.dumps(token)}")
    page.run("document.querySelector('#token-form button').click()")


def test_it_asks_for_a_token_and_shows_the_routes(page: Page, url: str, database: Database) -> None:
    token = create_token(database, NewTokenRequest(name="reader", scope=Scope.READ), actor="test").text
    assert page.run("document.getElementById('token').type") == "password"
    assert page.run(SUMMARIES) == []
    assert page.requested == [f"{url}/docs"]
    present(page, f" {token} ")
    wait_until(lambda: page.run(SUMMARIES), what="routes")
    shown = sorted(page.run(SUMMARIES))
    assert shown == sorted(f"{one.method} {one.path}: {one.summary}" for one in OPERATIONS)
    assert page.run(STATUS).startswith("prebuild ")
    assert page.requested == [f"{url}/docs", f"{url}/openapi.json"], "nothing else, and nothing of another machine"
    assert page.complaints == []
    assert page.run("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    assert token not in page.run("location.href")


def test_a_token_that_is_not_taken(page: Page, url: str) -> None:
    present(page, "pbt_" + "A" * 43)
    wait_until(lambda: page.run(STATUS).startswith("401: "), what="the refusal")
    assert page.run(SUMMARIES) == []
    assert {address.rpartition("/")[0] for address in page.requested} == {url}


def test_the_type_of_a_problem_leads_to_its_row(page: Page, url: str) -> None:
    page.open(f"{url}/docs#miss/empty-pool")
    assert page.run("document.querySelector(':target').textContent.trim()").startswith("#miss/empty-pool")
    assert page.complaints == []
