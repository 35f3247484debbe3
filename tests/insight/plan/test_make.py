"""`plan` announces what `apply` then does, and changes nothing, on a real database."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, select

from prebuild_tasks.config import Settings
from prebuild_tasks.db.base import Base
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, RefusedError
from prebuild_tasks.insight.plan.make import Plan, make_plan
from prebuild_tasks.insight.plan.rules import Cost
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import pause, promote
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.rules.reasons import Reason
from tests.support.builders import declare, fill, staffed, turn
from tests.support.pool_files import LONG, load_text, many

TWO = """
schema: 1
templates:
  - name: dev
    config: {{start: "{start}"}}
    presets:
      - {{name: small, desired: {small}, cost_per_hour: 0.1}}
      - {{name: big, desired: {big}{extra}}}
"""


def text(*, start: str = "true", small: int = 2, big: int = 1, extra: str = "") -> str:
    return TWO.format(start=start, small=small, big=big, extra=extra)


def planned(database: Database, settings: Settings, file: str, **options: Any) -> Plan:
    """Plan; assert that no table changed, and that applying at its revision changes exactly what it announced."""
    before = everything(database)
    made = make_plan(database, settings, load_text(file), ApplyOptions(actor="ada", **options))
    assert everything(database) == before
    return made


def everything(database: Database) -> dict[str, list[Any]]:
    with database.read() as connection:
        return {
            table.name: sorted(repr(tuple(row)) for row in connection.execute(select(table)))
            for table in Base.metadata.sorted_tables
        }


def lines(made: Plan) -> list[tuple[str, str, int, int, int, str]]:
    return [(item.sign, str(item.preset), item.create, item.delete, item.replace, item.why) for item in made.pools]


def put(database: Database, settings: Settings, file: str, made: Plan, **options: Any) -> None:
    options = {"yes": True, "if_revision": made.revision, **options}
    report = apply(database, settings, load_text(file), ApplyOptions(actor="ada", **options))
    assert report.changes == made.report.changes
    assert report.revision == made.report.revision


def test_from_nothing_to_a_new_version(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    made = planned(database, settings, text())
    assert (made.revision, made.changed) == (0, True)
    assert lines(made) == [("+", "dev/big", 1, 0, 0, "new"), ("+", "dev/small", 2, 0, 0, "new")]
    assert made.cost == Cost(0.0, 0.2, 0.0, 0.2)
    put(database, settings, text(), made)
    made = planned(database, settings, text())
    assert (made.revision, made.changed, made.pools) == (1, False, [])
    fill(database, settings, "dev/small")
    fill(database, settings, "dev/big")

    file = text(small=5, big=0)
    made = planned(database, settings, file)
    assert lines(made) == [
        ("-", "dev/big", 0, 1, 0, "desired 1 -> 0"),
        ("+", "dev/small", 3, 0, 0, "desired 2 -> 5"),
    ]
    put(database, settings, file, made)
    assert (turn(database, settings, "dev/small").created, turn(database, settings, "dev/big").deleted) == (3, 1)

    file = text(start="false", small=2, big=0, extra=", replace: {strategy: rolling}")
    made = planned(database, settings, file)
    [big, small] = lines(made)
    assert big[:5] == ("~", "dev/big", 0, 0, 0)
    assert small[:5] == ("~", "dev/small", 0, 3, 2), "two that run, three that start and are no longer wanted"
    assert small[5].endswith("all at once, desired 5 -> 2")
    assert big[5].endswith("gradually")
    assert made.report.deletes == "2 of all 2 eligible prebuilds"
    with pytest.raises(RefusedError, match="2 of all 2"):
        put(database, settings, file, made, yes=False)
    put(database, settings, file, made)


def test_what_is_no_longer_declared(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    empty = "schema: 1\ntemplates: []\n"
    made = planned(database, settings, empty)
    assert ([str(change)[0] for change in made.report.changes], made.changed, made.pools) == (["!"], False, [])
    made = planned(database, settings, empty, prune=True)
    assert lines(made) == [("-", "dev/small", 0, 2, 0, "no longer declared")]
    assert planned(database, settings, empty, prune=True, source="other").report.changes == []
    put(database, settings, empty, made, prune=True)


def test_what_holds_the_creation_back(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 1)
    pause(database, "dev/small", actor="ada")
    [pool] = planned(database, settings, text(small=3, big=0)).pools[1:]
    assert (str(pool.preset), pool.create, pool.waits) == ("dev/small", 3, Reason.PAUSED)
    [big] = planned(database, settings, text(small=1, big=2)).pools[:1]
    assert (str(big.preset), big.create, big.waits) == ("dev/big", 2, None)


def test_a_promotion_that_would_be_undone(database: Database, settings: Settings) -> None:
    file = LONG.format(active="v1", start="false")
    apply(database, settings, load_text(file), ApplyOptions(actor="ada"))
    promote(database, "dev", "v2", actor="bob")
    made = planned(database, settings, file)
    [drift] = made.report.drift
    assert (drift.template, drift.active, drift.declared, drift.by) == ("dev", "v2", "v1", "bob")
    assert made.report.drift[0].by == "bob"
    assert planned(database, settings, file, promote=False).report.drift == []
    promote(database, "dev", "v1", actor="bob")
    with pytest.raises(RefusedError, match="not at 2"):
        put(database, settings, file, made)


def test_what_apply_refuses_the_plan_refuses(database: Database, settings: Settings) -> None:
    apply(database, settings, load_text(LONG.format(active="v1", start="false")), ApplyOptions(actor="ada"))
    before = everything(database)
    with pytest.raises(InputError, match="the config changed under the version name v2"):
        planned(database, settings, LONG.format(active="v2", start="exit 3"))
    assert everything(database) == before


def test_the_number_of_statements_does_not_grow(database: Database, settings: Settings) -> None:
    counted: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: counted.append(args[2]))

    def statements(file: str) -> int:
        counted.clear()
        planned_at = make_plan(database, settings, load_text(file), ApplyOptions(actor="ada"))
        assert planned_at.changed
        return len(counted)

    few = statements(many(20))
    assert statements(many(200)) <= few + 10, "many rows go in a few batches, whose size is the driver's"


def test_every_new_version_is_compared(database: Database, settings: Settings) -> None:
    """Of two versions that a file adds, only the newer one was."""
    version = "{name: %s, config: {start: %s}, presets: [{name: small, desired: 1}]}"
    file = "schema: 1\ntemplates: [{name: dev, active_version: %s, versions: [%s]}]"
    versions = [version % (name, start) for name, start in (("v1", "a"), ("v2", "b"), ("v3", "c"))]
    apply(database, settings, load_text(file % ("v1", versions[0])), ApplyOptions(actor="ada"))
    made = planned(database, settings, file % ("v2", ", ".join(versions)))
    assert [(item.before, item.after) for item in made.recipes] == [("v1", "v2"), ("v1", "v3")]
