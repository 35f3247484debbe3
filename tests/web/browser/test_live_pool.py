"""The page of one pool in Chromium while the pool changes: no reload, and nothing of the viewer's is lost."""

from __future__ import annotations

import pytest

from prebuild_tasks.access.types import Scope
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.clock import utcnow
from prebuild_tasks.pools.operations import pause, resume
from tests.support.chromium import Visitor
from tests.support.door import FULL
from tests.support.wait import wait_until
from tests.web.browser.served import Served

pytestmark = pytest.mark.browser

WHY = "document.getElementById('pool-why').textContent"
CONNECTION = "document.getElementById('connection')?.textContent ?? ''"


def opened(served: Served, scope: Scope = Scope.OPERATE) -> Visitor:
    served.doors.stock(2)
    one = served.logged_in(scope)
    one.open(f"{served.url}/pools/{FULL}")
    wait_until(lambda: one.run(CONNECTION) == "Live", what="the stream")
    one.run("window.loadedOnce = true")
    return one


def set_paused(served: Served, *, paused: bool) -> None:
    served.doors.asked(
        lambda database, _: (
            pause(database, FULL, actor="bob", reason="cost") if paused else resume(database, FULL, actor="bob")
        )
    )


def test_a_pause_elsewhere_is_shown_and_undone_by_the_button(served: Served) -> None:
    one = opened(served)
    button = one.page.get_by_role("button", name="Invalidate")
    button.focus()
    one.run("window.focused = document.activeElement")
    set_paused(served, paused=True)
    one.page.get_by_role("button", name="Resume").wait_for()
    wait_until(lambda: "paused by bob" in one.run(WHY), what="the reason")
    assert one.page.get_by_role("button", name="Pause").count() == 0
    assert one.run("loadedOnce && document.activeElement === focused && focused.isConnected")
    assert one.run("focused.textContent") == "Invalidate"
    one.page.get_by_role("button", name="Resume").click()
    one.page.locator("button[name=confirm]").click()
    one.page.get_by_text("The pool is no longer paused.").wait_for()


def test_drawings_are_renewed_each_minute(served: Served) -> None:
    served.doors.stock(2)
    one = served.logged_in(Scope.READ)
    one.page.clock.install(time=utcnow())
    one.open(f"{served.url}/pools/{FULL}")
    tables = one.page.locator("#pool-period-1 details")
    numbers = one.page.locator("#pool-period-1 details", has_text="Claims and misses").locator("tbody td.number")
    hits = one.page.locator("#pool-period-1 svg[aria-label^='Hits and misses'] rect.hit")
    tables.first.locator("summary").click()
    one.run("window.loadedOnce = true")
    assert (hits.count(), numbers.all_text_contents()) == (0, [])
    served.doors.asked(lambda database, _: claim(database, ClaimRequest(owner="ada", presets=[FULL], name="mine")))

    def is_shown_after_a_minute() -> bool:
        one.page.clock.fast_forward("01:05")
        return hits.count() == 1

    wait_until(is_shown_after_a_minute, what="the claim")
    assert numbers.all_text_contents() == ["1", "0"], "a hit, and no miss"
    assert one.run("loadedOnce")
    assert tables.first.get_attribute("open") is not None, "what was open stays so"


def test_what_somebody_types_stays_until_it_is_left(served: Served) -> None:
    one = opened(served)
    reason = one.page.get_by_label("Reason, shown to everyone")
    reason.focus()
    one.page.keyboard.type("too expens")
    set_paused(served, paused=True)
    wait_until(lambda: "paused by bob" in one.run(WHY), what="the reason")
    one.page.keyboard.type("ive")
    assert reason.input_value() == "too expensive"
    one.page.get_by_role("button", name="Invalidate").focus()
    assert reason.input_value() == "too expensive", "what was typed is not lost either"
    reason.fill("")
    one.page.get_by_role("button", name="Invalidate").focus()
    one.page.get_by_role("button", name="Resume").wait_for()
    wait_until(lambda: reason.count() == 0, what="the end of the form")
    assert one.run("loadedOnce && document.activeElement.textContent") == "Invalidate"
