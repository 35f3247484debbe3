"""`prebuild unblock` ends every wait for which `prebuild explain` suggests it.

Previously, `explain` suggested it for a pool that waited because its prebuilds became unhealthy one after another, but
it answered "was not blocked" and changed nothing.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.operations import unblock
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, preset_id, turn


def test_it_builds_at_once(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    assert not unblock(database, PRESET, actor="op").changed
    with database.write() as connection:
        now = database.now(connection)
        ill = [(now - timedelta(seconds=seconds)).isoformat() for seconds in (3, 2, 1)]
        connection.execute(update(m.Preset).values(recent_unhealthy=ill))
    assert turn(database, settings).created == 0, "it flaps, so it waits"
    done = unblock(database, PRESET, actor="op")
    assert (done.changed, list(done.follow_up.wake)) == (True, [preset_id(database)])
    assert turn(database, settings).created == 1
    assert not unblock(database, PRESET, actor="op").changed
