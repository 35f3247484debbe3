"""Everything that a permanently lost machine held is closed without it."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError, RefusedError, RequestEndedError
from prebuild_tasks.insight.history import read_history
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import OPEN_STATUSES
from prebuild_tasks.remedy_commands import next_step_of
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.retired_hosts import forget_host
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.upkeep.types import SweepReport
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill, finish_builds, jump, turn, workspaces
from tests.support.hosts import place_on, report_presence


def open_builds(database: Database) -> int:
    with database.read() as connection:
        query = select(func.count()).select_from(m.Build).where(m.Build.status.in_(OPEN_STATUSES))
        return connection.execute(query).scalar_one()


def on_a_machine_that_is_gone(database: Database, settings: Settings, prebuilds: int) -> None:
    declare(database, settings, prebuilds)
    fill(database, settings)
    place_on(database, "gone")
    with database.write() as connection:
        connection.execute(update(m.Build).values(queue="gone"))
    report_presence(database, settings, "gone")
    jump(database, 3600)


def test_prebuilds_and_what_was_still_to_be_deleted_there(database: Database, settings: Settings) -> None:
    on_a_machine_that_is_gone(database, settings, 3)
    [deleted, *_] = workspaces(database)
    end_workspace(database, deleted.name, actor="op", operator=True)
    done = forget_host(database, settings, "gone", actor="op")
    assert (done.workspaces, done.claimed, len(done.follow_up.wake)) == (3, 0, 1)
    assert workspaces(database) == []
    assert open_builds(database) == 0
    assert ("host_forgotten", "op") in {(row.event, row.actor) for row in read_history(database, deleted.id)}
    assert turn(database, settings).created == 3
    finish_builds(database)
    assert sweep(database, settings, lambda _: 0).report() == SweepReport()
    assert audit(database, settings) == []
    with pytest.raises(NotFoundError, match="there is no host gone"):
        forget_host(database, settings, "gone", actor="op")


def test_what_people_have_goes_only_when_that_is_said(database: Database, settings: Settings) -> None:
    on_a_machine_that_is_gone(database, settings, 2)
    claim(database, ClaimRequest("ada", [PRESET]))
    with pytest.raises(RefusedError, match="1 claimed workspace on gone would be closed, too: ada/") as refused:
        forget_host(database, settings, "gone", actor="op")
    assert (
        next_step_of(refused.value)
        == "if they are lost with the machine, forget them, too: prebuild forget gone --claimed"
    )
    assert len(workspaces(database)) == 2, "nothing has changed"
    assert open_builds(database) == 1
    done = forget_host(database, settings, "gone", actor="op", claimed=True)
    assert (done.workspaces, done.claimed) == (2, 1)
    assert workspaces(database) == []
    assert open_builds(database) == 0
    assert audit(database, settings) == []


def test_a_start_that_somebody_waits_for(database: Database, settings: Settings) -> None:
    """It already belongs to a person, so only `--claimed` closes it, and then the claim ends."""
    declare(database, settings, 1)
    turn(database, settings)
    request = ClaimRequest("ada", [PRESET], wait=True)
    assert isinstance(claim(database, request), BeingBuilt)
    place_on(database, "gone")
    report_presence(database, settings, "gone")
    jump(database, 3600)
    with pytest.raises(RefusedError, match="ada/"):
        forget_host(database, settings, "gone", actor="op")
    forget_host(database, settings, "gone", actor="op", claimed=True)
    with pytest.raises(RequestEndedError, match="it was lost with its host, which op gave up"):
        claim(database, request)
    assert open_builds(database) == 0


def test_one_that_is_there_is_not_forgotten(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    place_on(database, "old")
    report_presence(database, settings, "old")
    with pytest.raises(RefusedError, match=r"the builds worker of .* is alive"):
        forget_host(database, settings, "old", actor="op")


def test_a_mistyped_one(database: Database, settings: Settings) -> None:
    on_a_machine_that_is_gone(database, settings, 1)
    with pytest.raises(NotFoundError, match="there is no host gome") as refused:
        forget_host(database, settings, "gome", actor="op")
    assert refused.value.hint == "name a silent host: gone"
    assert len(workspaces(database)) == 1
    forget_host(database, settings, "gone", actor="op")
    with pytest.raises(NotFoundError, match="there is no host gone") as refused:
        forget_host(database, settings, "gone", actor="op")
    assert refused.value.hint == "check its name; no host is silent"
