"""Barriers for people, as axe-core finds them on every page, in light and dark."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prebuild_tasks.access.types import Scope
from prebuild_tasks.clock import utcnow
from tests.support.chromium import Scheme
from tests.support.lively import PATHS, make_lively
from tests.web.browser.axe import barriers
from tests.web.browser.served import Served

pytestmark = pytest.mark.browser
CUT_OFF = """[...document.querySelectorAll(".card.flush, .drawing")]
  .filter((card) => card.scrollWidth > card.clientWidth).map((card) => card.ariaLabel ?? card.innerText.slice(0, 40))"""
"""The tables and drawings that have to be scrolled sideways."""
WIDTHS = (360, 600, 1001, 1010, 1100, 1229, 1232, 1240, 1280, 1360, 1440, 1500, 1920, 2560)


@pytest.fixture
def lively(served: Served) -> Served:
    served.doors.asked(make_lively)
    return served


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_keeps_people_out_or_sticks_out(lively: Served, scheme: Scheme) -> None:
    visits = lively.visitor()
    visits.show_as(1280, scheme)
    visits.open(f"{lively.url}/login")
    wrong = {"/login": barriers(visits)}
    visits = lively.logged_in(Scope.ADMIN)
    for path in PATHS:
        for width in (360, 600, 1010, 1240, 1280, 2560):
            visits.show_as(width, scheme)
            visits.open(lively.url + path)
            assert visits.run("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            assert visits.run(CUT_OFF) == [], (path, width)
            if width in (360, 1280):
                wrong[f"{path} at {width}"] = barriers(visits)
    visits.open(f"{lively.url}/pools/{PATHS[1].removeprefix('/pools/')}")
    visits.page.get_by_role("button", name="Pause").click()
    wrong["confirmation"] = barriers(visits)
    assert {path: violations for path, violations in wrong.items() if violations} == {}


def test_nothing_sticks_out_where_times_are_long(lively: Served) -> None:
    """Most times of a day have no date: at some hours, a table was scrolled sideways, and at others it was not."""
    visits = lively.logged_in(Scope.ADMIN)
    visits.page.clock.set_fixed_time(utcnow() + timedelta(days=400))
    for path in PATHS:
        visits.open(lively.url + path)
        for width in WIDTHS:
            visits.show_as(width)
            assert visits.run("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            assert visits.run(CUT_OFF) == [], (path, width)


def test_a_barrier_is_noticed(served: Served) -> None:
    visits = served.visitor()
    visits.page.set_content("<html lang='en'><title>x</title><p style='color: #aaa'>pale</p><input><img src='data:,'>")
    ids = {violation.partition(":")[0] for violation in barriers(visits)}
    assert {"color-contrast", "label", "image-alt"} <= ids
    visits.requested.clear()
