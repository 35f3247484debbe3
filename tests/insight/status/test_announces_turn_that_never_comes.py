"""`status` and `explain` announced turns that never came, because they ignored the limits that a turn reads.

During a rolling replacement with one start in flight, they said "replace 10, create 9", reason `not_yet`, "its next
turn creates 9", and named `prebuild reconcile`, whose turn did nothing, until the last one was replaced. For an older
version that served as second choice: "delete 3". Under `max_builds_in_flight: 3`: "its next turn creates 10". For a
pool that had used its share of the organization's limit: "its next turn creates 4".
"""

from __future__ import annotations

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.explain.gather import Explained, explain_preset
from prebuild_tasks.insight.status.pools import pools
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import invalidate
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.remedy_commands import spell
from tests.support.builders import PRESET, declare, fill, staffed, turn
from tests.support.pool_files import load_text

ROLLING = "replace: {strategy: rolling, max_surge: 1}"


def said(found: Explained) -> list[str]:
    return [link.sentence for link in found.explanation.chain]


def test_a_rolling_replacement_waits_for_what_is_starting(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 10, extra=ROLLING)
    fill(database, settings)
    invalidate(database, PRESET, actor="ada")
    assert "its next turn creates 1 of 10" in said(explain_preset(database, settings, None, PRESET))
    assert turn(database, settings).created == 1
    [row] = pools(database, settings)
    assert (row.reason, row.next_action) == ("starting", "replace 10, wait for 1")
    found = explain_preset(database, settings, None, PRESET)
    assert found.facts.reason is Reason.STARTING
    assert "replaced gradually: old and new together are at most 1 more than desired (max_surge)" in said(found)
    assert "10 prebuilds expired and will be replaced; 10 can be claimed as second choice until then" in said(found)
    assert [spell(step.remedy) for step in found.explanation.steps] == [f"prebuild builds --preset {PRESET}"]
    assert found.facts.turn._asdict() == {"delete": 0, "cancel": 0, "create": 0}
    assert turn(database, settings).outcome == "steady"


def test_an_older_version_stands_in(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 3, extra=ROLLING)
    fill(database, settings)
    declare(database, settings, 3, extra=ROLLING, start="false")
    [new, old] = pools(database, settings)
    assert (new.next_action, old.next_action) == ("create 1 of 3", "3 can be claimed until replaced")
    words = said(explain_preset(database, settings, None, str(old.preset)))
    assert any(text.endswith("; 3 prebuilds can be claimed as second choice until replaced") for text in words), words
    assert turn(database, settings, str(old.preset)).outcome == "steady"


def test_a_limit_lets_a_part_through(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 10, extra="max_builds_in_flight: 3")
    [row] = pools(database, settings)
    assert (row.reason, row.next_action) == ("not_yet", "create 3 of 10")
    found = explain_preset(database, settings, None, PRESET)
    assert "its next turn creates 3 of 10, within max_builds_in_flight" in said(found)
    assert turn(database, settings).created == 3


def test_a_limit_is_shared(database: Database, settings: Settings) -> None:
    text = """
schema: 1
organizations: [{name: default, max_builds_in_flight: 4}]
templates: [{name: dev, config: {start: 'true'}, presets: [{name: a, desired: 6}, {name: b, desired: 6}]}]
"""
    staffed(database, settings)
    apply(database, settings, load_text(text), ApplyOptions(actor="ada"))
    assert [row.next_action for row in pools(database, settings)] == ["create 2 of 6", "create 2 of 6"]
    words = "its next turn creates 2 of 6, within max_builds_in_flight of the organization"
    assert words in said(explain_preset(database, settings, None, "dev/a"))
    assert turn(database, settings, "dev/a").created == 2
    assert [(row.reason, row.next_action) for row in pools(database, settings)] == [
        (
            "organization_builds_in_flight",
            "wait: 2 of 4 builds of default in flight, the rest is reserved for other pools",
        ),
        ("not_yet", "create 2 of 6"),
    ]
    found = explain_preset(database, settings, None, "dev/a")
    assert found.facts.reason is Reason.ORGANIZATION_BUILDS
    words = "2 of 4 allowed builds of the organization default are in flight"
    assert f"{words}; the rest is reserved for pools that have fewer" in said(found)
    assert (turn(database, settings, "dev/a").created, turn(database, settings, "dev/b").created) == (0, 2)
