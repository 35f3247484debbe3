"""When a host goes silent, its prebuilds are replaced elsewhere, and its claimed workspaces are left alone."""

from __future__ import annotations

from sqlalchemy import update

from prebuild_tasks.builds import store
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.fleet.hosts import live_hosts
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.lost_hosts import give_up_lost
from tests.support.builders import PRESET, declare, finish_builds, jump, turn, workspaces
from tests.support.hosts import be_silent_for_long, place_on, report_presence


def test_a_lost_hosts_prebuilds_are_replaced(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    turn(database, settings)
    finish_builds(database)
    place_on(database, "old")
    claim(database, ClaimRequest("ada", [PRESET]))
    finish_builds(database)
    _, new = report_presence(database, settings, "old", "new")
    be_silent_for_long(database, settings, new)
    with database.read() as connection:
        assert live_hosts(connection, settings, database.now(connection)) == ["new"]
    follow_up = give_up_lost(database, settings)
    assert len(follow_up.builds) == 2
    assert {build.queue for build in follow_up.builds} == {"old"}, "what is left is deleted when the host comes back"
    assert len(follow_up.wake) == 1
    assert turn(database, settings).created == 3
    [hers] = workspaces(database, m.Workspace.owner == "ada")
    assert (hers.transition, hers.host) == (Transition.START, "old")
    assert not give_up_lost(database, settings)
    assert audit(database, settings) == []


def test_a_start_that_is_bound_to_a_lost_host_is_given_up(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    with database.write() as connection:
        connection.execute(update(m.Build).values(attempt=1, queue="old"))
    place_on(database, "old")
    _, new = report_presence(database, settings, "old", "new")
    be_silent_for_long(database, settings, new)
    assert len(give_up_lost(database, settings).builds) == 1
    assert turn(database, settings).created == 1
    assert audit(database, settings) == []


def test_after_a_night_switched_off_nobody_is_lost(database: Database, settings: Settings) -> None:
    """The process that is back first has not been up long enough to judge that the other is silent."""
    declare(database, settings, 1)
    turn(database, settings)
    finish_builds(database)
    place_on(database, "old")
    report_presence(database, settings, "old", "new")
    jump(database, 8 * 3600)
    report_presence(database, settings, "new")
    assert not give_up_lost(database, settings)


def test_a_machine_that_slept_has_not_watched(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    finish_builds(database)
    place_on(database, "old")
    _, new = report_presence(database, settings, "old", "new")
    jump(database, 8 * 3600)
    new.announce()
    assert not give_up_lost(database, settings)


def test_without_another_host_nobody_is_lost(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    finish_builds(database)
    place_on(database, "old")
    report_presence(database, settings, "old")
    jump(database, 8 * 3600)
    assert not give_up_lost(database, settings)


def test_a_running_build_of_a_lost_host_is_first_taken_back(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    result = turn(database, settings)
    with database.write() as connection:
        assert store.take(connection, result.follow_up.builds[0].id, "old/1", "old", database.now(connection))
    _, new = report_presence(database, settings, "old", "new")
    be_silent_for_long(database, settings, new)
    assert give_up_lost(database, settings).builds == ()
