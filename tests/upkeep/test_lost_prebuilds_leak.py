"""A pool lost more than a third before replacements were ready: they were counted from a short list of instants."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import Transition
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.lost_prebuilds import replace_lost
from tests.support.builders import PRESET, declare, fill, finish_builds, jump, turn, workspaces


def condemn_all(database: Database) -> None:
    """Let the probe of every prebuild have found it gone."""
    with database.write() as connection:
        now = database.now(connection)
        rows = [{"workspace_id": row.id, "next_at": now, "condemned_at": now} for row in workspaces(database)]
        connection.execute(insert(m.ProbeState), rows)


def running(database: Database) -> int:
    return len(workspaces(database, m.Workspace.transition == Transition.START))


def test_a_pool_that_lost_more_than_it_remembers(database: Database, settings: Settings) -> None:
    declare(database, settings, 54, extra="replace: {strategy: rolling, max_surge: 52}")
    fill(database, settings)
    condemn_all(database)
    assert [len(replace_lost(database, settings).builds) for _ in range(4)] == [52, 0, 0, 0]
    assert running(database) == 2


@pytest.mark.parametrize("hours", [0, 2, 200])
def test_a_paused_pool_loses_no_second_third(database: Database, settings: Settings, hours: int) -> None:
    declare(database, settings, 6)
    fill(database, settings)
    condemn_all(database)
    pause(database, PRESET, actor="ada", reason="")
    assert len(replace_lost(database, settings).builds) == 2
    finish_builds(database)
    jump(database, hours * 3600.0)
    assert turn(database, settings).created == 0
    assert replace_lost(database, settings).builds == ()
    assert running(database) == 4


def test_replacements_make_room_again(database: Database, settings: Settings) -> None:
    declare(database, settings, 6)
    fill(database, settings)
    condemn_all(database)
    pause(database, PRESET, actor="ada", reason="")
    replace_lost(database, settings)
    jump(database, 7200.0)
    resume(database, PRESET, actor="ada")
    fill(database, settings)
    assert len(replace_lost(database, settings).builds) == 2, "the pool was full"
    turn(database, settings)
    assert replace_lost(database, settings).builds == (), "begun is not ready"
    finish_builds(database)
    assert len(replace_lost(database, settings).builds) == 2
