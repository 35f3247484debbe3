"""Barriers for people on a page, as axe-core finds them."""

from __future__ import annotations

from pathlib import Path

from tests.support.chromium import Visitor

AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"
RUN = """async () => {
  const {violations} = await axe.run(document, {resultTypes: ["violations"]});
  const grave = violations.filter(({impact}) => ["serious", "critical"].includes(impact));
  const shown = (id, node) => `${id}: ${node.html} ${node.failureSummary}`.slice(0, 500);
  return grave.flatMap(({id, nodes}) => nodes.map((node) => shown(id, node)));
}"""


def barriers(visits: Visitor) -> list[str]:
    """Return what is serious or critical on the page."""
    assert AXE.exists(), "make test-web installs axe-core: cd tests/web/browser && npm ci --ignore-scripts"
    visits.run(AXE.read_text())
    return [str(violation) for violation in visits.run(RUN)]
