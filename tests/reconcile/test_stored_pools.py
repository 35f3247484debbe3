"""A pool is the same for its turn, which reads it alone, and for people, who read it with all others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus
from prebuild_tasks.reconcile.rules.rollout import PoolVersion, Rolling
from prebuild_tasks.reconcile.store.preset_view import read_preset
from prebuild_tasks.reconcile.store.snapshots import read_pools
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, finish_builds, preset_id, turn

STATES: dict[str, dict[str, Any]] = {
    "healthy": {},
    "rolling": {"replace_strategy": "rolling", "max_surge": 3, "ready_timeout_s": 60.0},
    "hard-limited": {"status": PresetStatus.HARD_LIMITED},
    "paused": {"paused": {"by": "ada"}},
    "paused until now": {"paused": {"by": "ada", "until": "2026-01-01T00:00:00+00:00"}},
}


@pytest.mark.parametrize("state", STATES)
def test_a_turn_and_people_read_the_same_pool(database: Database, settings: Settings, state: str) -> None:
    declare(database, settings, 4)
    turn(database, settings)
    finish_builds(database, limit=2)
    finish_builds(database, status=BuildStatus.FAILED, limit=1)
    interval = timedelta(seconds=settings.backoff_interval)
    with database.write() as connection:
        if STATES[state]:
            connection.execute(update(m.Preset).values(STATES[state]))
        rest = database.now(connection) + timedelta(minutes=5)
        connection.execute(insert(m.LostTurn).values(preset_id=preset_id(database), count=3, rests_until=rest))
    with database.snapshot() as connection:
        _, [row] = read_pools(database, connection, settings.backoff_lookback)
        view = read_preset(database, connection, preset_id(database), settings.backoff_lookback)
    assert view is not None
    pool = PoolVersion.of_stored(view, interval, 5)
    assert pool == PoolVersion.of_stored(row, interval, 5)
    assert pool.counts.ready == 2
    assert pool.failures is not None
    assert pool.failures_in_row == 1
    assert pool.paused is (state == "paused")
    assert pool.rolling == (Rolling(3, timedelta(minutes=1)) if state == "rolling" else None)
