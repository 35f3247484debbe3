"""A plan says what holds a change back, as the turns after it find it.

Previously it ignored that pools share limits, and announced "create 4" where the pool's share was used. Of a pool that
gets no turn, because the last ones crashed their worker, it announced "delete 3".
"""

from __future__ import annotations

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.plan.make import make_plan
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.loop import count_lost_turn
from prebuild_tasks.reconcile.rules.backoff import LOST_TURNS_FREE
from prebuild_tasks.reconcile.rules.reasons import Reason
from tests.support.builders import declare, fill, preset_id, staffed, turn
from tests.support.pool_files import load_text

TWO = """
schema: 1
organizations: [{{name: default{limit}}}]
templates: [{{name: dev, config: {{start: 'true'}}, presets: [{{name: a, desired: {a}}}, {{name: b, desired: 5}}]}}]
"""
ONE = "schema: 1\ntemplates: [{{name: dev, config: {{start: '{}'}}, presets: [{{name: small, desired: {}}}]}}]"


def planned(database: Database, settings: Settings, text: str) -> list[tuple[str, int, int, int, Reason | None]]:
    plan = make_plan(database, settings, load_text(text), ApplyOptions(actor="ada"))
    return [(str(pool.preset), pool.create, pool.delete, pool.replace, pool.waits) for pool in plan.pools]


@pytest.mark.parametrize(
    ("organization", "everywhere", "why"),
    [(", max_builds_in_flight: 2", 0, Reason.ORGANIZATION_BUILDS), ("", 2, Reason.GLOBAL_BUILDS)],
)
def test_the_pool_has_used_its_share(
    database: Database, settings: Settings, organization: str, everywhere: int, why: Reason
) -> None:
    settings = settings.model_copy(update={"max_builds_in_flight": everywhere})
    staffed(database, settings)
    options = ApplyOptions(actor="ada")
    apply(database, settings, load_text(TWO.format(limit=organization, a=1)), options)
    assert turn(database, settings, "dev/a").created == 1
    more = TWO.format(limit=organization, a=5)
    assert planned(database, settings, more) == [("dev/a", 4, 0, 0, why)]
    apply(database, settings, load_text(more), options)
    result = turn(database, settings, "dev/a")
    assert (result.outcome, result.reason) == ("blocked", why)


def test_the_pool_rests(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 4)
    fill(database, settings)
    for _ in range(LOST_TURNS_FREE + 1):
        count_lost_turn(database, settings, preset_id(database))
    assert planned(database, settings, ONE.format("true", 1)) == [("dev/small", 0, 3, 0, Reason.LOST_TURNS)]
    assert planned(database, settings, ONE.format("true", 6)) == [("dev/small", 2, 0, 0, Reason.LOST_TURNS)]
    declare(database, settings, 1, yes=True)
    assert turn(database, settings).outcome == "blocked"
