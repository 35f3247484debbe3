"""Barriers for people, as axe-core finds them on every page, in light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest

from prebuild_tasks.access.types import Scope
from tests.support.chromium import Scheme, Visitor
from tests.support.lively import PATHS, make_lively
from tests.web.browser.served import Served

pytestmark = pytest.mark.browser

AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"
RUN = """async () => {
  const {violations} = await axe.run(document, {resultTypes: ["violations"]});
  const grave = violations.filter(({impact}) => ["serious", "critical"].includes(impact));
  const shown = (id, node) => `${id}: ${node.html} ${node.failureSummary}`.slice(0, 500);
  return grave.flatMap(({id, nodes}) => nodes.map((node) => shown(id, node)));
}"""


@pytest.fixture
def lively(served: Served) -> Served:
    served.doors.asked(make_lively)
    return served


def barriers(visits: Visitor) -> list[str]:
    """Return what is serious or critical on the page."""
    assert AXE.exists(), "make test-web installs axe-core: cd tests/web/browser && npm ci --ignore-scripts"
    visits.run(AXE.read_text())
    return [str(violation) for violation in visits.run(RUN)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_keeps_people_out_or_sticks_out(lively: Served, scheme: Scheme) -> None:
    visits = lively.visitor()
    visits.show_as(1280, scheme)
    visits.open(f"{lively.url}/login")
    wrong = {"/login": barriers(visits)}
    visits = lively.logged_in(Scope.ADMIN)
    for path in PATHS:
        for width in (360, 1280, 2560):
            visits.show_as(width, scheme)
            visits.open(lively.url + path)
            assert visits.run("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            if width != 2560:
                wrong[f"{path} at {width}"] = barriers(visits)
    visits.open(f"{lively.url}/pools/{PATHS[1].removeprefix('/pools/')}")
    visits.page.get_by_role("button", name="Pause").click()
    wrong["confirmation"] = barriers(visits)
    assert {path: violations for path, violations in wrong.items() if violations} == {}


def test_a_barrier_is_noticed(served: Served) -> None:
    visits = served.visitor()
    visits.page.set_content("<html lang='en'><title>x</title><p style='color: #aaa'>pale</p><input><img src='data:,'>")
    ids = {violation.partition(":")[0] for violation in barriers(visits)}
    assert {"color-contrast", "label", "image-alt"} <= ids
    visits.requested.clear()
