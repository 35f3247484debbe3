"""`prebuild report`: JSON keys, the terminal's table, the page."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.cli.commands.report import heat_lines
from prebuild_tasks.cli.when import parse_instant
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError
from prebuild_tasks.insight.report.advice import Recommendation
from prebuild_tasks.remedies import Remedy, RemedyKind
from tests.support.past import PastEvents, two_busy_days

FIGURES = {
    "claims", "hits", "misses", "hit_rate", "cold_starts", "claim_latency_ms", "time_to_ready_s", "built",
    "failed_builds", "wasted_builds", "wasted_by_reason", "idle_hours", "idle_cost", "heat_map",
}  # fmt: skip
HOUR = timedelta(hours=1)


@pytest.fixture
def past(database: Database, settings: Settings) -> PastEvents:
    return two_busy_days(database, settings)


def test_a_recommendation_ends_with_the_command(
    cli: Any, past: PastEvents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = [Recommendation("3 failed", Remedy(RemedyKind.LIST_FAILED_BUILDS)), Recommendation("more")]
    monkeypatch.setattr("prebuild_tasks.insight.report.compile.recommend", lambda _: advice)
    words = "3 failed; see: prebuild builds --status failed"
    [pool] = json.loads(cli("report", "--json"))["presets"]
    assert pool["recommendations"] == [words, "more"]
    written = tmp_path / "report.html"
    output = cli("report", "--html", str(written))
    assert f"{pool['preset']}: {words}\n" in output
    assert f"written: {written}" in output
    assert f"{words}</li>" in written.read_text()


def test_the_keys_are_a_promise(cli: Any, past: PastEvents) -> None:
    found = json.loads(cli("report", "--json"))
    assert found.keys() == {"since", "until", "data_since", "notes", "total", "presets", "over_time"}
    assert found["data_since"].keys() == {"claims", "builds"}
    assert found["total"].keys() == FIGURES
    [pool] = found["presets"]
    assert pool.keys() == FIGURES | {"preset", "active", "timezone", "cost_per_hour", "recommendations"}
    assert pool["claim_latency_ms"].keys() == {"count", "p50", "p95"}
    assert pool["heat_map"].keys() == {"claims", "misses"}
    assert [len(row) for row in pool["heat_map"]["claims"]] == [24] * 7
    assert found["over_time"].keys() == {"seconds", "claims", "time_to_ready_s"}
    assert found["over_time"]["claims"][0].keys() == {"at", "hits", "misses"}
    assert found["over_time"]["time_to_ready_s"][0].keys() == {"at", "count", "p50", "p95"}
    assert (pool["claims"], pool["misses"], pool["cold_starts"], pool["wasted_builds"]) == (39, 9, 9, 1)


def test_the_terminal_shows_figures_heat_and_what_follows(cli: Any, past: PastEvents) -> None:
    text = cli("report")
    assert re.search(r"dev/small +39 +30 +9 +76\.9% +9 +5\.0/5\.0 +1800\.0/1800\.0 +40 +0 +1 ", text)
    assert "Claims by weekday and hour (UTC); █ is" in text
    assert "wasted: 1 expired" in text
    assert "Recommendations:\n  dev/small: " in text
    assert "data since" in cli("report", "--since", "20d"), "the installation is younger"
    assert "CLAIMS" in cli("report", "--since", "2h", "--until", "1h", "--preset", "dev/small")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "soon"], "cannot read --since 'soon' as a time"),
        (["--since", "1h", "--until", "2h"], "next: --since must be before --until, and not in the future"),
        (["--since", "999999999999d"], "too long ago"),
        (["--since", "2999-01-01"], "not in the future"),
        (["--html", "/nowhere/report.html"], "cannot be written"),
    ],
)
def test_bad_input(cli: Any, past: PastEvents, arguments: list[str], words: str) -> None:
    text = cli("report", *arguments, expect=2)
    assert words in text
    assert "Traceback" not in text


def test_nothing_declared_and_nothing_happened(cli: Any, tmp_path: Path) -> None:
    assert "nothing is declared yet" in cli("report", "--html", str(tmp_path / "empty.html"))
    assert "There were no claims in this period." in (tmp_path / "empty.html").read_text()


def test_a_heat_map_shows_what_happened_once() -> None:
    rows = [[0] * 24 for _ in range(7)]
    rows[0][3], rows[6][23] = 100, 1
    lines = heat_lines("Claims", rows, "UTC", " .+x#")
    assert lines[0] == "Claims by weekday and hour (UTC); # is 100"
    assert lines[2] == "Mon        ##"
    assert lines[8] == "Sun  " + " " * 46 + ".."
    assert heat_lines("Misses", [[0] * 24] * 7, "UTC", " .+x#") == ["Misses: none"]


def test_times_as_people_give_them(past: PastEvents) -> None:
    now = past.now
    assert parse_instant("90m", "--since", now) == now - 1.5 * HOUR
    assert parse_instant("2026-03-01T08:00+02:00", "--since", now).isoformat() == "2026-03-01T06:00:00+00:00"
    for day in ("2026-03-01", "20260301", " 20260301 "):
        assert parse_instant(day, "--since", now).isoformat() == "2026-03-01T00:00:00+00:00"
    assert parse_instant("20261301", "--since", now) == now - timedelta(seconds=20261301), "no date"
    with pytest.raises(InputError, match="cannot read --until 'x' as a time"):
        parse_instant("x", "--until", now)
