"""A pool whose turns crash their worker rests; a turn that ends resets the count."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.redis import connect
from prebuild_tasks.reconcile import loop
from prebuild_tasks.reconcile.locks import Locks
from prebuild_tasks.reconcile.loop import PoolReconciler
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, RecordingPublisher, declare, fill, jump, live, preset_id


@pytest.fixture
def pools(database: Database, settings: Settings, redis_url: str) -> Iterator[PoolReconciler]:
    client = connect(redis_url)
    yield PoolReconciler(database, settings, Locks(client, "prebuild", 60), RecordingPublisher())
    client.close()


def lost(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(m.LostTurn.__table__.select()))


def test_three_in_a_row_and_the_pool_rests_until_its_time(
    database: Database, settings: Settings, pools: PoolReconciler
) -> None:
    declare(database, settings, 2)
    for _ in range(3):
        loop.count_lost_turn(database, settings, preset_id(database))
    report = pools.reconcile_preset(PRESET)
    assert (report.outcome, report.reason, live(database)) == ("blocked", "lost_turns", 0)
    jump(database, settings.backoff_interval + 1)
    assert pools.reconcile_preset(PRESET).created == 2
    assert lost(database) == []


def rest_left(database: Database) -> timedelta | None:
    """Return how long the pool still rests; None: it does not."""
    with database.read() as connection:
        now = database.now(connection)
    until: datetime | None = lost(database)[0].rests_until
    return until - now if until else None


def test_each_further_one_rests_twice_as_long(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    rests = []
    for _ in range(5):
        loop.count_lost_turn(database, settings, preset_id(database))
        left = rest_left(database)
        rests.append(left and round(left.total_seconds(), -1))
        if left:
            jump(database, left.total_seconds() + 1)
    assert rests == [None, None, 60, 120, 240]


def test_messages_delivered_again_during_a_rest_do_not_prolong_it(database: Database, settings: Settings) -> None:
    """Messages of a resting pool wait with workers that die of something else: none of them was a turn."""
    declare(database, settings, 1)
    for _ in range(3):
        loop.count_lost_turn(database, settings, preset_id(database))
    before = lost(database)
    for _ in range(15):
        loop.count_lost_turn(database, settings, preset_id(database))
    assert lost(database) == before
    assert before[0].count == 3


def test_a_turn_that_comes_to_its_end_clears_the_account(
    database: Database, settings: Settings, pools: PoolReconciler
) -> None:
    """A deployment stops workers during a turn; the message is redelivered, and that turn ends."""
    declare(database, settings, 1)
    fill(database, settings)
    for _ in range(5):
        assert pools.reconcile_preset(PRESET, redelivered=True).outcome == "steady"
        assert lost(database) == []


def test_a_turn_of_a_pool_that_is_gone_leaves_nothing(database: Database, settings: Settings) -> None:
    loop.count_lost_turn(database, settings, 4711)
    assert lost(database) == []
