"""A turn's requests to PostgreSQL and Redis, counted where they leave the process."""

from __future__ import annotations

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.redis import connect
from prebuild_tasks.reconcile.locks import Locks
from prebuild_tasks.reconcile.loop import PoolReconciler
from tests.support.builders import RecordingPublisher, declare, fill, preset_id, turn
from tests.support.roundtrips import asked_of_postgresql, asked_of_redis

SCHEDULED = 'timezone: Europe/Berlin, schedules: [{cron: "* 8-18 * * 1-5", desired: 2}]'


@pytest.mark.parametrize("extra", ["", SCHEDULED, "replace: {strategy: rolling}"])
def test_a_turn_with_nothing_to_do_is_few_round_trips(
    postgres_url: str, redis_url: str, settings: Settings, extra: str
) -> None:
    database = Database(postgres_url)
    declare(database, settings, 2, extra=extra)
    fill(database, settings)
    client = connect(redis_url)
    reconciler = PoolReconciler(database, settings, Locks(client, "test", 60), RecordingPublisher())
    identity = str(preset_id(database))
    reconciler.reconcile_preset(identity)  # Redis learns the scripts, once
    with asked_of_postgresql() as statements, asked_of_redis() as commands:
        assert reconciler.reconcile_preset(identity).outcome == "steady"
    client.close()
    database.close()
    assert len(statements) <= 4
    assert all(words.lstrip().startswith("SELECT") for words in statements), "no BEGIN and no COMMIT either"
    assert len(commands) == 2
    assert all("EVALSHA" in command for command in commands)


def test_a_turn_that_creates_asks_the_same_for_a_hundred_as_for_one(
    postgres_url: str, redis_url: str, settings: Settings
) -> None:
    database = Database(postgres_url)
    client = connect(redis_url)
    declare(database, settings, 1)
    turn(database, settings)  # it tells that the pool is short
    asked = []
    for desired in (2, 102):
        declare(database, settings, desired)
        reconciler = PoolReconciler(database, settings, Locks(client, "test", 60), RecordingPublisher())
        with asked_of_postgresql() as statements, asked_of_redis() as commands:
            assert reconciler.reconcile_preset(str(preset_id(database))).created in (1, 100)
        asked.append([words.split()[0] for words in statements])
        assert len([command for command in commands if "EVALSHA" in command]) >= 2
    client.close()
    database.close()
    assert asked[0] == asked[1]
    assert len(asked[0]) <= 18, asked[0]
