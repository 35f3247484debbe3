"""The forms of all pages are taken as they are shown, without a script that fills them in."""

from __future__ import annotations

import re
from html import unescape

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.operations import pause
from tests.support.browser import Browser
from tests.support.builders import PRESET, declare, fill, staffed
from tests.support.strays import hold_back

FORM = re.compile(r'<form [^>]*method="post" action="([^"]+)"[^>]*>(.*?)</form>', re.DOTALL)
FIELD = re.compile(r'<input [^>]*name="([^"]+)"[^>]*?value="([^"]*)"')
PAGES = ("/pools", f"/pools/{PRESET}", "/workspaces", "/workspaces/ada/hers", "/workers", "/health")


def forms(page: str) -> dict[str, dict[str, str]]:
    """Return the fields of each form on a page, by its action."""
    return {
        unescape(action): {name: unescape(value) for name, value in FIELD.findall(form)}
        for action, form in FORM.findall(page)
        if action != "/logout"
    }


@pytest.fixture
def troubled(database: Database, settings: Settings) -> None:
    """A pool with a claimed workspace, while everything is paused and a sweep is held back."""
    declare(database, settings, 2)
    staffed(database, settings)
    fill(database, settings)
    claim(database, ClaimRequest(owner="ada", presets=[PRESET], name="hers"))
    pause(database, actor="grace", reason="the registry moves")
    with database.write() as connection:
        hold_back(connection, database.now(connection), 1)


@pytest.mark.usefixtures("troubled")
def test_each_form_is_one_of_the_session(browser: Browser) -> None:
    """The buttons of /health and /workers were without the token of the session."""
    browser.log_in()
    shown = {path: forms(browser.get(path).text) for path in PAGES}
    assert all(shown.values()), "each page has a form"
    for path, actions in shown.items():
        for action, fields in actions.items():
            confirmation = browser.post(action, fields)
            assert confirmation.status_code == 200, (path, action)
            assert browser.post(action, forms(confirmation.text)[action]).status_code == 200, (path, action)
