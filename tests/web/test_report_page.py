"""The report's page: it stands by itself, and shows values as text."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.report.advice import Recommendation
from prebuild_tasks.insight.report.compile import compile_report
from prebuild_tasks.insight.report.types import Report
from prebuild_tasks.web.charts import heat_chart, hit_chart, ready_chart
from prebuild_tasks.web.report_page import report_html
from tests.support.past import two_busy_days


@pytest.fixture
def report(database: Database, settings: Settings) -> Report:
    two_busy_days(database, settings)
    return compile_report(database, settings, since=lambda now: now - timedelta(hours=48))


def test_the_page_needs_nothing_else_and_is_well_formed(report: Report) -> None:
    text = report_html(report)
    assert not re.findall(r"https?:|//|url\(|@import|<script|<link|<img|src=", text.replace("<!doctype html>", ""))
    assert "prefers-color-scheme: dark" in text
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    roots = [ET.fromstring(drawing) for drawing in drawings]
    labels = [root.get("aria-label", "") for root in roots]
    assert [(root[0].tag, root[0].text) for root in roots] == [("title", label) for label in labels]
    assert [label.split()[0] for label in labels] == ["Hit", "Hits", "claims", "misses", "Time", "Idle"]
    numbers = [
        float(n) for n in re.findall(r'(?: (?:x|y|width|height|cx|cy)="|translate\()(-?[\d.]+)', "".join(drawings))
    ]
    assert min(numbers) >= 0
    assert max(numbers) <= 760, "everything lies inside its drawing"


def test_one_miss_is_singular() -> None:
    at = datetime(2026, 1, 5, 9, tzinfo=UTC)
    chart = hit_chart([(at, 1, 1), (at + timedelta(hours=1), 2, 2)], at, at + timedelta(hours=2), 3600)
    assert ["1 hit, 1 miss," in chart, "2 hits, 2 misses," in chart] == [True, True]
    heat = heat_chart([[0, 1, 2] + [0] * 21] + [[0] * 24] * 6, "hit", "claim", "claims")
    assert [words in heat for words in (": 0 claims<", ": 1 claim<", ": 2 claims<")] == [True] * 3


def test_values_are_escaped(report: Report) -> None:
    evil = '<script>alert("x")</script>'
    pool = replace(report.pools[0], preset=evil, timezone=evil, recommendations=(Recommendation(evil),))
    figures = replace(report.total, wasted_by_reason={evil: 1})
    text = report_html(replace(report, pools=(pool,), notes=(evil,), total=figures))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 5


def test_what_to_do_comes_before_the_charts_and_small_amounts_are_no_zeros(report: Report) -> None:
    advice = (Recommendation("try a smaller size"),)
    pools = [replace(report.pools[0], preset=f"dev/p{n}", recommendations=advice) for n in range(300)]
    total = replace(report.total, idle_hours=0.5)
    text = report_html(replace(report, pools=tuple(pools), total=total))
    assert text.index("try a smaller size") < text.index("<svg")
    assert "<b>0.5</b>" in text
    [idle] = re.findall(r'<svg[^>]*aria-label="Idle.*?</svg>', text, re.DOTALL)
    height = float(idle.split('viewBox="0 0 ', 1)[1].split()[1].rstrip('"'))
    assert height <= 280, "as high as the chart beside it"


def test_labels_of_an_axis_have_as_many_decimals() -> None:
    since = datetime(2026, 3, 2, tzinfo=UTC)
    until = since + timedelta(hours=4)
    drawing = ready_chart([(since, 1.0)], [(since, 1.7)], since, until, 900)
    labels = re.findall(r'text-anchor="end">([\d.]+) s<', drawing)
    assert labels == ["0.0", "0.5", "1.0", "1.5", "2.0"]
