"""The report's page: it stands by itself, and shows values as text."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.report.advice import Recommendation
from prebuild_tasks.insight.report.compile import compile_report
from prebuild_tasks.insight.report.types import Report
from prebuild_tasks.web.report_page import page
from tests.support.past import two_busy_days


@pytest.fixture
def report(database: Database, settings: Settings) -> Report:
    two_busy_days(database, settings)
    return compile_report(database, settings, since=lambda now: now - timedelta(hours=48))


def test_the_page_needs_nothing_else_and_is_well_formed(report: Report) -> None:
    text = page(report)
    assert not re.findall(r"https?:|//|url\(|@import|<script|<link|<img|src=", text.replace("<!doctype html>", ""))
    assert "prefers-color-scheme: dark" in text
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    labels = [ET.fromstring(drawing).get("aria-label", "") for drawing in drawings]
    assert [label.split()[0] for label in labels] == ["Hit", "Hits", "claims", "misses", "Time", "Idle"]
    numbers = [float(n) for n in re.findall(r'(?:x|y|width|height|cx|cy)="(-?[\d.]+)"', "".join(drawings))]
    assert min(numbers) >= 0
    assert max(numbers) <= 760, "everything lies inside its drawing"


def test_values_are_escaped(report: Report) -> None:
    evil = '<script>alert("x")</script>'
    pool = replace(report.pools[0], preset=evil, timezone=evil, recommendations=(Recommendation(evil),))
    figures = replace(report.total, wasted_by_reason={evil: 1})
    text = page(replace(report, pools=(pool,), notes=(evil,), total=figures))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 5
