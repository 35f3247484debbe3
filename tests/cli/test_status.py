"""`prebuild status`: filters, totals, and the pools that need attention."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, fill, staffed, turn
from tests.support.pool_files import load_text

POOLS = """
schema: 1
templates:
  - name: python
    config: {start: "true"}
    presets: [{name: small, desired: 1}, {name: large, desired: 0}]
  - name: java
    config: {start: "true"}
    presets: [{name: small, desired: 1}]
"""


@pytest.fixture
def pools(database: Database, settings: Settings) -> None:
    apply(database, settings, load_text(POOLS), ApplyOptions(actor="test"))
    for name in ("python/small", "java/small"):
        fill(database, settings, name)


@pytest.mark.usefixtures("pools")
def test_globs_choose_pools(cli: Any) -> None:
    def names(*arguments: str) -> list[str]:
        return [row["preset"] for row in json.loads(cli("status", "--json", *arguments))]

    assert names() == ["java/small", "python/large", "python/small"]
    assert names("python/*") == ["python/large", "python/small"]
    assert names("*/small", "python/large") == ["java/small", "python/large", "python/small"]
    assert "no pool matches 'ruby/*'" in cli("status", "ruby/*", expect=3)
    assert "java" not in cli("status", "python/*")


@pytest.mark.usefixtures("pools")
def test_totals_and_claimed_counts(cli: Any, database: Database) -> None:
    claim(database, ClaimRequest("ada", ["python/small"]))
    heading, *_, totals = cli("status").splitlines()
    assert heading.split()[:5] == ["PRESET", "DESIRED", "ELIGIBLE", "STARTING", "CLAIMED"]
    assert totals.split() == ["3", "pools", "2", "1", "0", "1"]
    rows = {row["preset"]: row["claimed"] for row in json.loads(cli("status", "--json"))}
    assert rows == {"java/small": 0, "python/large": 0, "python/small": 1}


@pytest.mark.usefixtures("pools")
def test_only_problems(cli: Any, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    assert cli("status", "--problems") == "no pool needs attention\n"
    assert json.loads(cli("status", "--problems", "--json")) == []
    with database.write() as connection:
        connection.execute(update(m.Preset).where(m.Preset.name == "large").values(desired=4))
    said = cli("status", "--problems")
    assert said.startswith("no pool needs attention; 1 is not full:\n  python/large: 0 of 4 eligible, within the ")
    assert cli("status", "--problems", "java/*") == "no pool needs attention\n"
    with database.write() as connection:
        connection.execute(update(m.Preset).where(m.Preset.name == "small").values(status=PresetStatus.HARD_LIMITED))
        connection.execute(update(m.Preset).where(m.Preset.name == "small").values(desired=2))
    said = cli("status", "--problems", expect=8)
    assert "PROBLEM" in said
    assert said.count("hard limited") == 2
    assert "python/large" not in said
    [row] = json.loads(cli("status", "--problems", "java/*", "--json", expect=8))
    assert (row["preset"], row["problems"]) == ("java/small", ["hard_limited"])


def test_superseded_versions_only_if_asked_for(cli: Any, database: Database, settings: Settings) -> None:
    declare(database, settings, 1, extra="replace: {strategy: rolling}")
    fill(database, settings)
    declare(database, settings, 1, start="echo new", extra="replace: {strategy: rolling}")
    turn(database, settings)
    assert len(json.loads(cli("status", "--json"))) == 2
    said = cli("status")
    assert "dev/small@" not in said
    assert "(1 superseded version with prebuilds; shown with --all)" in said
    with database.write() as connection:
        connection.execute(update(m.Template).values(active_version_id=None))
    assert cli("status", "dev/*") == "no active pool\n(2 superseded versions with prebuilds; shown with --all)\n"
    assert "dev/small@" in cli("status", "--all")
    assert "dev/small@" in cli("status", "dev/small@*")
