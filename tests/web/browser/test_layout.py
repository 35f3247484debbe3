"""The layout of the pages: nothing sticks out at any width, and times are those of the viewer's zone."""

from __future__ import annotations

import pytest

from prebuild_tasks.access.sessions import new_login_code
from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from tests.support.chromium import Scheme
from tests.support.pool_files import load_text
from tests.web.browser.served import Served

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


def test_a_link_logs_in_and_a_path_is_kept(served: Served) -> None:
    served.doors.asked(lambda *where: apply(*where, load_text(POOLS), ApplyOptions(actor="test")))
    request = NewTokenRequest(name="ada", scope=Scope.ADMIN)
    token = served.doors.asked(lambda database, _: create_token(database, request, actor="test"))
    code = served.doors.asked(lambda database, _: new_login_code(database, token.view.id))
    visits = served.visitor()
    visits.open(f"{served.url}/login?code={code}")
    visits.page.get_by_role("button", name="Log in").click()
    visits.page.wait_for_url(f"{served.url}/pools")
    visits.page.get_by_role("button", name="Log out").click()
    visits.page.get_by_text("You are logged out.").wait_for()
    visits.open(f"{served.url}/login?next=%2Fpools%3Fq%3Dlong")
    visits.page.fill("#token", token.text)
    visits.page.get_by_role("button", name="Log in").click()
    visits.page.wait_for_url(f"{served.url}/pools?q=long")
    time = visits.page.locator("time").first
    in_utc = time.get_attribute("datetime")
    assert in_utc
    assert in_utc.replace("T", " ").replace("Z", " UTC") == time.get_attribute("title")
    assert "UTC" not in time.inner_text(), "the script has put it into the browser's zone"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_scrolls_sideways(served: Served, scheme: Scheme) -> None:
    served.doors.asked(lambda *where: apply(*where, load_text(POOLS), ApplyOptions(actor="test")))
    visits = served.logged_in()
    for width in (360, 768, 1280, 2560):
        visits.show_as(width, scheme)
        assert visits.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
