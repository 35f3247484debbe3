"""A workspace that was extended is not deleted before its new end.

Previously, on PostgreSQL, the sweep read which claimed workspaces were past their end, and deleted them without
checking again; one extended in between was deleted. And a workspace that was being deleted could be extended: the
owner got a new end, and the workspace was deleted nevertheless.
"""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.model.vocabulary import Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.workspaces.extension import extend
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill, finish_builds, jump, workspaces
from tests.support.wait import wait_until

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def claimed(database: Database, settings: Settings) -> str:
    declare(database, settings, 1, extra="claimed_ttl: 1h")
    fill(database, settings)
    claim(database, ClaimRequest("ada", [PRESET]))
    finish_builds(database)
    [hers] = workspaces(database, m.Workspace.owner == "ada")
    return str(hers.id)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_extended_after_the_sweep_chose_it(database: Database, settings: Settings) -> None:
    hers = claimed(database, settings)
    jump(database, 3601)
    sweeper = threading.Thread(target=sweep, args=(database, settings, lambda _: 0))
    with database.write() as connection:
        until = database.now(connection) + timedelta(days=1)
        connection.execute(update(m.Workspace).where(m.Workspace.id == hers).values(claimed_until=until))
        sweeper.start()
        with database.read() as other:
            wait_until(lambda: other.execute(text(WAITING)).scalar_one(), what="the sweep, at the row")
    sweeper.join(60)
    [row] = workspaces(database, m.Workspace.id == hers)
    assert (row.transition, row.claimed_until) == (Transition.START, until)


def test_extended_while_it_is_being_deleted(database: Database, settings: Settings) -> None:
    hers = claimed(database, settings)
    [row] = workspaces(database, m.Workspace.id == hers)
    end_workspace(database, f"ada/{row.name}", actor="ada")
    with pytest.raises(RefusedError, match="is being deleted"):
        extend(database, f"ada/{row.name}", 3600, actor="ada")
