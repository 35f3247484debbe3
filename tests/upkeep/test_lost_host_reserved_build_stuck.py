"""A claim that waits for a build ends, even if the build's machine never comes back.

Previously, the start was put back into its host's queue and stayed there forever: only prebuilds of a lost host were
given up, and it was no longer a prebuild. The request was answered "being built" forever, and the build counted as in
flight: with a limit of one, the pool was not refilled either.
"""

from __future__ import annotations

import pytest
from sqlalchemy import update

from prebuild_tasks.builds import store
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import MissReason
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.lost_hosts import give_up_lost
from prebuild_tasks.upkeep.sweep import sweep
from tests.support.builders import PRESET, declare, finish_builds, turn, workspaces
from tests.support.hosts import be_silent_for_long, report_presence


@pytest.mark.parametrize("pool", [0, 1], ids=["built for her", "taken over from the pool"])
def test_her_start_is_given_up_with_its_host(database: Database, settings: Settings, pool: int) -> None:
    declare(database, settings, pool, extra="max_builds_in_flight: 1")
    turn(database, settings)
    request = ClaimRequest("ada", [PRESET], wait=True)
    assert isinstance(claim(database, request), BeingBuilt)
    with database.write() as connection:
        [build_id] = connection.execute(m.Build.__table__.select()).scalars()
        assert store.take(connection, build_id, "old/1", "old", database.now(connection))
    _, new = report_presence(database, settings, "old", "new")
    be_silent_for_long(database, settings, new)
    swept = sweep(database, settings, lambda _: 0)
    assert swept.retaken == 1
    queues = [build.queue for build in swept.follow_up.builds]
    assert queues[1:] == ["old"], "what it left there goes when the host is back"
    with pytest.raises(ClaimMissError, match="not heard of: old") as refused:
        claim(database, request)
    assert refused.value.reason == MissReason.BUILD_FAILED
    assert turn(database, settings).created == pool, "it is no longer in the pool's way"
    assert not give_up_lost(database, settings)
    assert audit(database, settings) == []
    finish_builds(database)
    assert workspaces(database, m.Workspace.owner == "ada") == []


def test_what_she_has_is_left_alone(database: Database, settings: Settings) -> None:
    """The workspace's claim hook lost its worker with the host."""
    declare(database, settings, 1)
    turn(database, settings)
    finish_builds(database)
    with database.write() as connection:
        connection.execute(update(m.Workspace).values(host="old"))
    claim(database, ClaimRequest("ada", [PRESET]))
    _, new = report_presence(database, settings, "old", "new")
    be_silent_for_long(database, settings, new)
    assert not give_up_lost(database, settings)
