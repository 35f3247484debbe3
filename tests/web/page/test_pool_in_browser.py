"""The page of a pool in Chromium: no sideways scrolling, no complaint, and a pause with its confirmation."""

from __future__ import annotations

from pathlib import Path

import pytest

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight import read_history
from tests.support.api import NO_REDIS
from tests.support.builders import declare_simulated, fill, staffed
from tests.support.chromium import Page, browsing
from tests.support.past import PastEvents
from tests.support.stocked_door import listening
from tests.support.wait import wait_until

pytestmark = pytest.mark.browser

POOL = "/pools/dev/small"
SCHEDULES = 'timezone: Europe/Berlin, schedules: [{cron: "* 8-17 * * 1-5", desired: 8}]'


def press(page: Page, button: str, to: str) -> None:
    page.run(f"document.querySelector('{button}').click()")
    arrived = f"location.pathname + location.search === '{to}' && document.readyState === 'complete'"
    wait_until(lambda: page.run(arrived), what=to)


def fits(page: Page) -> None:
    for width in (360, 768, 1280, 2560):
        for scheme in ("light", "dark"):
            page.show_as(width, scheme)
            assert page.run("document.documentElement.scrollWidth <= innerWidth"), width


def test_a_pause_in_a_browser(database: Database, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", host="here", database_url=database.url, redis_url=NO_REDIS)
    declare_simulated(database, settings, 2, extra=SCHEDULES)
    staffed(database, settings)
    fill(database, settings)
    past = PastEvents(database)
    past.claim(past.now)
    past.write()
    token = create_token(database, NewTokenRequest(name="ada", scope=Scope.OPERATE), actor="test")
    with listening(settings) as url, browsing() as page:
        page.open(f"{url}/login?next={POOL}")
        page.run(f"document.querySelector('[name=token]').value = '{token.text}'")
        press(page, "form.stacked button", POOL)
        fits(page)
        assert page.run("document.querySelectorAll('.plot svg').length") >= 8
        page.run("document.querySelector('[name=reason]').value = 'costs'")
        page.run("document.querySelector('[name=until]').value = '2100-01-01T10:00'")
        press(page, f'form[action="{POOL}/pause"] button', f"{POOL}/pause")
        fits(page)
        press(page, "button[name=confirm]", f"{POOL}?done=paused")
        assert "The pool is paused." in page.run("document.querySelector('.flash').textContent")
        assert page.complaints == []
        assert [address for address in page.requested if not address.startswith((f"{url}/", "data:"))] == []
    [paused] = [event for event in read_history(database) if event.event == "paused"]
    assert (paused.actor, paused.reason) == ("token:ada", "costs")
