"""`apply` and `plan` describe changes in the terms of the pools file.

Previously they used column names and Python values: "deleted_at 2026-… -> None", "organization_id 1 -> 2", "ttl_s None
-> 3600.0".
"""

from __future__ import annotations

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import promote
from prebuild_tasks.pools.options import ApplyOptions
from tests.support.builders import declare
from tests.support.pool_files import load_text

TEMPLATE = (
    "schema: 1\ntemplates: [{{name: dev, {more}config: {{start: 'true'}}, presets: [{{name: small, desired: 0}}]}}]"
)
PAIR = "schema: 1\ntemplates: [{{name: dev, config: {{start: 'true'}}, presets: [{}]}}]"


def put(database: Database, settings: Settings, text: str) -> list[str]:
    report = apply(database, settings, load_text(text), ApplyOptions(actor="ada", prune=True))
    return [str(change) for change in report.changes]


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ("", "ttl: 1h", "ttl 1h"),
        ("ttl: 1h", "ttl: 90m, ready_timeout: 1.5", "ttl 1h -> 90m, ready_timeout 5m -> 1.5s"),
        ("ttl: 2d, max_builds_in_flight: 3", "", "ttl 2d -> none, max_builds_in_flight 3 -> none"),
        ("", "replace: {strategy: rolling, max_surge: 2}",
         "replace.strategy recreate -> rolling, replace.max_surge 1 -> 2"),
        ("", "claimed_ttl: 1d, timezone: UTC", "timezone UTC, claimed_ttl 1d"),
        ("timezone: UTC, cost_per_hour: 0.5", "cost_per_hour: 0.25", "timezone UTC -> none, cost_per_hour 0.5 -> 0.25"),
    ],
)  # fmt: skip
def test_a_preset(database: Database, settings: Settings, was: str, now: str, words: str) -> None:
    declare(database, settings, 0, extra=was)
    assert [str(change) for change in declare(database, settings, 0, extra=now).changes] == [
        f"~ preset dev/small: {words}"
    ]


def test_a_template(database: Database, settings: Settings) -> None:
    put(database, settings, TEMPLATE.format(more=""))
    [_, change] = put(database, settings, TEMPLATE.format(more="organization: team, deprecated: true, "))
    assert change == "~ template dev: organization default -> team, deprecated"
    put(database, settings, "schema: 1\ntemplates: []")
    assert put(database, settings, TEMPLATE.format(more="organization: team, ")) == [
        "~ template dev: declared again, no longer deprecated"
    ]


def test_a_preset_that_comes_back(database: Database, settings: Settings) -> None:
    both = "{name: small, desired: 0}, {name: big, desired: 0}"
    put(database, settings, PAIR.format(both))
    assert put(database, settings, PAIR.format("{name: small, desired: 0}")) == ["- preset dev/big"]
    assert put(database, settings, PAIR.format(both)) == ["~ preset dev/big: declared again"]


def test_an_organization_is_not_a_promotion(database: Database, settings: Settings) -> None:
    """The history recognizes promotions by the text of a change."""
    versions = "".join(
        f"\n  - {{name: {name}, config: {{start: 'echo {name}'}}, presets: []}}" for name in ("v1", "v2")
    )
    text = "schema: 1\ntemplates:\n- name: dev\n  organization: TEAM\n  active_version: v1\n  versions:" + versions
    put(database, settings, text.replace("TEAM", "v1"))
    promote(database, "dev", "v2", actor="bob")
    moved = load_text(text.replace("TEAM", "v2"))
    apply(database, settings, moved, ApplyOptions(actor="ada", promote=False))
    [drift] = apply(database, settings, moved, ApplyOptions(actor="ada")).drift
    assert drift.by == "bob"
