"""The report's page as a browser lays it out.

The last columns of the table of pools used to be cut off at the edge of their card, and the charts left half of the
page empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.report.compile import compile_report
from prebuild_tasks.web.report_page import report_html
from tests.support.chromium import chromium, visitor
from tests.support.past import two_busy_days

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

NAME = "platform-engineering-workspaces/java-service-with-caches-and-a-long-name"
MEASURE = """() => {
const edge = element => element.getBoundingClientRect();
const card = document.querySelector(".wide"), table = card.querySelector("table");
const cards = [...document.querySelectorAll(".plots > .card")].map(edge);
return {
  page: document.documentElement.scrollWidth, window: document.documentElement.clientWidth,
  table: edge(table).right, card: edge(card).right, scrolls: card.scrollWidth > card.clientWidth,
  overflow: getComputedStyle(card).overflowX,
  cut: [...table.querySelectorAll("th, td")].filter(it => it.scrollWidth > it.clientWidth).map(it => it.textContent),
  columns: table.querySelectorAll("th").length,
  rows: new Set(cards.map(it => it.top)).size, plots: cards.length,
  uneven: cards.filter(it => Math.abs(it.height - cards.find(other => other.top === it.top).height) > 1).length,
};
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def text(database: Database, settings: Settings) -> str:
    """The page of 300 pools with a long name, and with the figures of a busy month."""
    two_busy_days(database, settings)
    report = compile_report(database, settings, since=lambda now: now - timedelta(hours=48))
    figures = replace(
        report.pools[0].figures, claims=12_345, hits=12_000, misses=12_345, cold_starts=12_345, built=12_345,
        failed_builds=12_345, wasted_builds=12_345, idle_hours=12_345.6, idle_cost=12_345.67,
    )  # fmt: skip
    pools = tuple(replace(report.pools[0], preset=f"{NAME}-{number}", figures=figures) for number in range(300))
    return report_html(replace(report, pools=pools, total=figures))


def measured(browser: Browser, text: str, place: Path, width: int) -> dict[str, Any]:
    """Lay the page out in a window of this width, and measure it."""
    file = place / "report.html"
    file.write_text(text)
    with visitor(browser, width=width) as visits:
        visits.open(file.as_uri())
        answer: dict[str, Any] = visits.page.evaluate(MEASURE)
    return answer


@pytest.mark.parametrize("width", [1920, 1280])
def test_no_column_is_cut_and_no_half_is_empty(browser: Browser, text: str, tmp_path: Path, width: int) -> None:
    it = measured(browser, text, tmp_path, width)
    assert it["window"] == width
    assert it["columns"] == 13
    assert it["cut"] == []
    assert not it["scrolls"], "every column is in sight"
    assert it["table"] <= it["card"]
    assert it["page"] == width, "nothing sticks out"
    assert (it["plots"], it["rows"]) == (6, 3), "two charts beside each other"
    assert it["uneven"] == 0, "charts beside each other are equally high"


def test_on_a_narrow_page_only_the_table_scrolls(browser: Browser, text: str, tmp_path: Path) -> None:
    it = measured(browser, text, tmp_path, 600)
    assert it["window"] == 600
    assert it["page"] == 600
    assert (it["scrolls"], it["overflow"]) == (True, "auto"), "the columns are beyond the edge, and can be reached"
    assert it["cut"] == []
    assert (it["plots"], it["rows"]) == (6, 6)
