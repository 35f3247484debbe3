"""The page in Chromium: a real browser's log-in, times in its zone, and no sideways scrolling."""

from __future__ import annotations

from pathlib import Path

import pytest

from prebuild_tasks.access.sessions import new_login_code
from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from tests.support.api import NO_REDIS
from tests.support.chromium import Page, browsing
from tests.support.pool_files import load_text
from tests.support.stocked_door import listening
from tests.support.wait import wait_until

pytestmark = pytest.mark.browser

POOLS = """
schema: 1
templates:
  - name: a-template-with-a-name-that-is-as-long-as-names-may-be-really-1
    provisioner: simulated
    config: {}
    presets:
      - name: a-preset-with-a-name-that-is-as-long-as-names-may-be-really-too
        desired: 12000
        timezone: Europe/Berlin
        schedules: [{cron: "* 8-17 * * 1-5", desired: 20000}]
      - {name: small, desired: 0}
"""


def press(page: Page, to: str) -> None:
    page.run("document.querySelector('form.stacked button').click()")
    wait_until(lambda: page.run("location.pathname") == to and page.run("document.readyState") == "complete", what=to)


def test_the_page_in_a_browser(database: Database, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", host="here", database_url=database.url, redis_url=NO_REDIS)
    apply(database, settings, load_text(POOLS), ApplyOptions(actor="test"))
    token = create_token(database, NewTokenRequest(name="ada", scope=Scope.ADMIN), actor="test")
    with listening(settings) as url, browsing() as page:
        page.open(f"{url}/login?code={new_login_code(database, token.view.id)}")
        press(page, "/pools")
        page.run("document.querySelector('.who button').click()")
        wait_until(lambda: page.run("location.search") == "?done=logged_out", what="the log-out")
        page.open(f"{url}/login?next=%2Fpools%3Fq%3Dlong")
        page.run(f"document.querySelector('[name=token]').value = '{token.text}'")
        press(page, "/pools")
        assert page.run("location.search") == "?q=long"
        time = page.run(
            "(({dateTime, title, textContent}) => [dateTime, title, textContent])(document.querySelector('time'))"
        )
        assert time[0].replace("T", " ").replace("Z", " UTC") == time[1]
        assert "UTC" not in time[2], "the script has put it into the browser's zone"
        for width in (360, 768, 1280, 2560):
            for scheme in ("light", "dark"):
                page.show_as(width, scheme)
                assert page.run("document.documentElement.scrollWidth <= innerWidth"), width
        assert page.complaints == []
        assert [address for address in page.requested if not address.startswith(f"{url}/")] == []
