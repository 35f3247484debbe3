"""The page of the API's documentation in a browser, as `prebuild serve` answers it with its headers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.web.api.app import OPERATIONS
from tests.support.api import NO_REDIS
from tests.support.chromium import Visitor, browsing
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
def visitor(url: str) -> Iterator[Visitor]:
    with browsing() as visitor:
        visitor.open(f"{url}/docs")
        yield visitor


def present(visitor: Visitor, token: str) -> None:
    """Enter a token, and send the form as its button does."""
    visitor.page.fill("#token", token)
    visitor.page.click("#token-form button")


def test_it_asks_for_a_token_and_shows_the_routes(visitor: Visitor, url: str, database: Database) -> None:
    token = create_token(database, NewTokenRequest(name="reader", scope=Scope.READ), actor="test").text
    assert visitor.page.evaluate("document.getElementById('token').type") == "password"
    assert visitor.page.evaluate(SUMMARIES) == []
    assert visitor.requested == [f"{url}/docs"]
    present(visitor, f" {token} ")
    wait_until(lambda: visitor.page.evaluate(SUMMARIES), what="routes")
    shown = sorted(visitor.page.evaluate(SUMMARIES))
    assert shown == sorted(f"{one.method} {one.path}: {one.summary}" for one in OPERATIONS)
    assert visitor.page.evaluate(STATUS).startswith("prebuild ")
    assert visitor.requested == [f"{url}/docs", f"{url}/openapi.json"], "nothing else, and nothing of another machine"
    assert visitor.complaints == []
    assert visitor.page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    assert token not in visitor.page.evaluate("location.href")


def test_a_token_that_is_not_taken(visitor: Visitor, url: str) -> None:
    present(visitor, "pbt_" + "A" * 43)
    wait_until(lambda: visitor.page.evaluate(STATUS).startswith("401: "), what="the refusal")
    assert visitor.page.evaluate(SUMMARIES) == []
    assert {address.rpartition("/")[0] for address in visitor.requested} == {url}


def test_the_type_of_a_problem_leads_to_its_row(visitor: Visitor, url: str) -> None:
    visitor.open(f"{url}/docs#miss/empty-pool")
    assert visitor.page.evaluate("document.querySelector(':target').textContent.trim()").startswith("#miss/empty-pool")
    assert visitor.complaints == []
