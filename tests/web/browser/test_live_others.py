"""The history and a workspace in Chromium while things happen: nothing is loaded again, and nothing typed is lost."""

from __future__ import annotations

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.workspaces import end_workspace
from tests.support.door import FULL
from tests.support.wait import wait_until
from tests.web.browser.served import Served

pytestmark = pytest.mark.browser
CONNECTION = "document.getElementById('connection')?.textContent ?? ''"
FIRST = "document.querySelector('#history > tr').textContent"


def test_what_happens_appears_at_the_top(served: Served) -> None:
    served.doors.stock(2)
    one = served.logged_in()
    one.open(f"{served.url}/history")
    wait_until(lambda: one.run(CONNECTION) == "Live", what="the stream")
    one.run("window.loadedOnce = true")
    who = one.page.get_by_label("Who", exact=True)
    who.fill("somebody")
    before = one.page.locator("#history > tr").count()
    served.doors.asked(lambda database, _: pause(database, FULL, actor="bob", reason="cost"))
    wait_until(lambda: "bob" in one.run(FIRST), what="the event")
    assert "paused" in one.run(FIRST)
    assert one.page.locator("#history > tr").count() == before + 1
    assert who.input_value() == "somebody"
    assert one.run("loadedOnce && document.activeElement.id") == "who"


def test_a_workspace_that_is_given_back_elsewhere_loses_its_buttons(served: Served) -> None:
    served.doors.stock(2)
    claimed = served.doors.asked(lambda database, _: claim(database, ClaimRequest(owner="ada", presets=[FULL])).answer)
    one = served.logged_in()
    one.open(f"{served.url}/workspaces/ada/{claimed.workspace}")
    wait_until(lambda: one.run(CONNECTION) == "Live", what="the stream")
    one.run("window.loadedOnce = true")
    one.page.get_by_role("button", name="Release").wait_for()
    name = f"ada/{claimed.workspace}"
    served.doors.asked(lambda database, _: end_workspace(database, name, actor="bob"))
    one.page.locator("#workspace-head .badge.deleting").wait_for()
    assert one.page.get_by_role("button", name="Release").count() == 0
    assert "bob" in one.page.locator("#workspace-history").inner_text()
    assert one.run("loadedOnce")
