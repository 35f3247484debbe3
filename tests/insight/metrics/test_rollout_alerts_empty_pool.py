"""The critical alert PrebuildPoolEmpty fired in every rolling replacement longer than two minutes: no prebuild was
eligible, though every claim immediately got an outdated one. After 15 minutes PrebuildBelowDesired fired, too. No
metric showed the second choices.

deploy/prometheus/alerts_test.yml tests the alerts: pools that are replaced gradually, or whose every claim hits.
"""

from __future__ import annotations

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.metrics.read import PoolNumbers, read_numbers
from prebuild_tasks.pools.operations import invalidate
from tests.support.builders import PRESET, declare, fill, finish_builds, turn

ROLLING = "replace: {strategy: rolling}"


def numbers(database: Database, settings: Settings) -> PoolNumbers:
    [pool] = read_numbers(database, settings).pools
    return pool


def take(database: Database) -> str:
    return claim(database, ClaimRequest("ada", [PRESET])).answer.preset


def test_what_stands_in_after_a_new_version(database: Database, settings: Settings) -> None:
    declare(database, settings, 3, extra=ROLLING)
    fill(database, settings)
    assert numbers(database, settings).second_choices == 0
    declare(database, settings, 3, extra=ROLLING, start="false")
    turn(database, settings)
    assert (numbers(database, settings).state.eligible, numbers(database, settings).second_choices) == (0, 3)
    assert "@" in take(database)
    assert numbers(database, settings).second_choices == 2
    finish_builds(database)
    turn(database, settings)
    assert numbers(database, settings).state.eligible + numbers(database, settings).second_choices == 3


def test_what_stands_in_after_an_invalidation(database: Database, settings: Settings) -> None:
    declare(database, settings, 3, extra=ROLLING)
    fill(database, settings)
    invalidate(database, PRESET, actor="ada")
    assert (numbers(database, settings).state.eligible, numbers(database, settings).second_choices) == (0, 3)


def test_nothing_stands_in_where_all_are_replaced_at_once(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    declare(database, settings, 3, start="false", yes=True)
    assert (numbers(database, settings).state.eligible, numbers(database, settings).second_choices) == (0, 0)
