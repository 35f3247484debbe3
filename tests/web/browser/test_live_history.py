"""The history in Chromium while things happen: they appear without a reload, and nothing of the viewer's is lost."""

from __future__ import annotations

from prebuild_tasks.pools.operations import pause
from tests.support.door import FULL
from tests.support.wait import wait_until
from tests.web.browser.served import Served

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
