"""A scarce limit is shared fairly, by real decisions on a real database."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.assessment import read_context
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.budgets import lock_limits
from prebuild_tasks.reconcile.rules.contenders import shared_within
from prebuild_tasks.reconcile.rules.limits import LimitReason
from prebuild_tasks.reconcile.store.in_flight import read_sharers, sharers_among
from prebuild_tasks.reconcile.store.preset_view import read_preset
from prebuild_tasks.reconcile.store.snapshots import read_pools
from prebuild_tasks.reconcile.turn import PresetResult, reconcile_preset
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, finish_builds, preset_id, turn, workspaces
from tests.support.pool_files import load_text

NAMES = ("a", "b", "c")


def three(
    database: Database, settings: Settings, *, desired: int = 10, first: int | None = None, organization: str = ""
) -> list[int]:
    """Declare three pools of size `desired`; the first may have another size."""
    sizes = [desired if first is None else first, desired, desired]
    presets = "\n".join(f"      - {{name: {name}, desired: {size}}}" for name, size in zip(NAMES, sizes, strict=True))
    text = f"""
schema: 1
organizations: [{{name: default{organization}}}]
templates:
  - name: dev
    config: {{start: "true"}}
    presets:
{presets}
"""
    apply(database, settings, load_text(text), ApplyOptions(actor="test"))
    return [preset_id(database, f"dev/{name}") for name in NAMES]


def go(database: Database, settings: Settings, ids: list[int]) -> list[PresetResult]:
    return [reconcile_preset(database, settings, identity) for identity in ids]


def in_pools(database: Database, ids: list[int]) -> list[int]:
    return [len(workspaces(database, m.Workspace.preset_id == identity)) for identity in ids]


def test_builds_in_flight_of_an_organization_are_shared(database: Database, settings: Settings) -> None:
    ids = three(database, settings, organization=", max_builds_in_flight: 6")
    results = go(database, settings, ids)
    assert [result.created for result in results] == [2, 2, 2]
    assert {result.reason for result in results} == {"organization_builds_in_flight"}


def test_the_global_limit_is_shared(database: Database, settings: Settings) -> None:
    ids = three(database, settings)
    limited = settings.model_copy(update={"max_builds_in_flight": 4})
    assert [result.created for result in go(database, limited, ids)] == [2, 1, 1]


def test_a_quota_is_shared(database: Database, settings: Settings) -> None:
    ids = three(database, settings, organization=", max_workspaces: 9")
    assert [result.created for result in go(database, settings, ids)] == [3, 3, 3]
    finish_builds(database)
    assert [result.created for result in go(database, settings, ids)] == [0, 0, 0]


def test_who_wants_little_gets_all_of_it(database: Database, settings: Settings) -> None:
    ids = three(database, settings, desired=1, organization=", max_builds_in_flight: 6")
    assert [result.created for result in go(database, settings, ids)] == [1, 1, 1]


def test_who_comes_late_gets_what_becomes_free(database: Database, settings: Settings) -> None:
    ids = three(database, settings, desired=0, first=6, organization=", max_builds_in_flight: 6")
    assert reconcile_preset(database, settings, ids[0]).created == 6
    three(database, settings, organization=", max_builds_in_flight: 6")
    assert [result.created for result in go(database, settings, ids)] == [0, 0, 0]
    finish_builds(database, limit=3)
    assert [result.created for result in go(database, settings, ids)] == [0, 2, 1], "the first has its share"


def test_what_is_left_for_others_wakes_them(database: Database, settings: Settings) -> None:
    first, second, third = three(database, settings, organization=", max_builds_in_flight: 6")
    assert reconcile_preset(database, settings, first).follow_up.wake.keys() == {second, third}


def test_who_can_not_build_takes_no_share(database: Database, settings: Settings) -> None:
    first, second, third = three(database, settings, organization=", max_builds_in_flight: 6")
    reconcile_preset(database, settings, second)
    finish_builds(database, status=BuildStatus.FAILED, limit=2)
    assert reconcile_preset(database, settings, second).reason == "backoff"
    assert reconcile_preset(database, settings, first).created == 3
    assert reconcile_preset(database, settings, third).created == 3


STATES: dict[str, dict[str, Any]] = {
    "healthy": {"status": PresetStatus.HEALTHY},
    "hard-limited": {"status": PresetStatus.HARD_LIMITED},
    "invalid": {"status": PresetStatus.VALIDATION_FAILED},
    "paused": {"paused": {"by": "ada"}},
    "paused until now": {"paused": {"by": "ada", "until": "2026-01-01T00:00:00+00:00"}},
    "removed": {"removed_at": datetime(2026, 1, 1, tzinfo=UTC)},
}


@pytest.mark.parametrize("everywhere", [0, 5])
@pytest.mark.parametrize(("second", "third"), [*zip(STATES, STATES, strict=True), *pairwise(STATES)])
def test_people_are_shown_the_shares_that_the_turn_gets(
    database: Database, settings: Settings, second: str, third: str, everywhere: int
) -> None:
    settings = settings.model_copy(update={"max_builds_in_flight": everywhere})
    ids = three(database, settings, organization=", max_builds_in_flight: 6, max_workspaces: 20")
    for identity, state in zip(ids[1:], (second, third), strict=True):
        with database.write() as connection:
            connection.execute(update(m.Preset).where(m.Preset.id == identity).values(STATES[state]))
    with database.write() as connection:
        now, rows = read_pools(database, connection, settings.backoff_lookback)
        context = read_context(connection, settings, now, rows)
        view = read_preset(database, connection, ids[0], settings.backoff_lookback)
        assert view is not None
        shared = lock_limits(connection, replace(view, now=now), 10, settings).shared
        scope = shared_within(view.organization_id, everywhere)
        sharers = read_sharers(connection, now, settings.backoff_lookback, scope)
    assert {item.ref: item for item in sharers} == {item.ref: item for item in sharers_among(rows, everywhere)}
    assert context.shared.get(view.organization_id, ()) == shared
    kinds = [LimitReason.ORGANIZATION_BUILDS, LimitReason.QUOTA] + [LimitReason.GLOBAL_BUILDS] * bool(everywhere)
    number = sum(state.startswith(("healthy", "paused")) for state in (second, third))
    assert [item.reason for item in shared] == (kinds if number else [])


def test_presets_that_decide_at_the_same_time_never_pass_a_limit(database: Database, settings: Settings) -> None:
    ids = three(database, settings, organization=", max_builds_in_flight: 7, max_workspaces: 8")
    threads = [threading.Thread(target=reconcile_preset, args=(database, settings, identity)) for identity in ids * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(in_pools(database, ids)) == 7


def test_slow_start_doubles_with_each_success(database: Database, settings: Settings) -> None:
    settings = settings.model_copy(update={"backoff_interval": 0.0, "failure_hard_limit": 0})
    declare(database, settings, 20)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED)
    widths = []
    for _ in range(3):
        widths.append(turn(database, settings).created)
        finish_builds(database)
    assert widths == [1, 2, 8], "two successes double it twice"
    assert turn(database, settings).created == 20 - 11
    declare(database, settings, 0, yes=True)
