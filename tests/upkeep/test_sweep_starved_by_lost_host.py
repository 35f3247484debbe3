"""Builds that wait for a lost host, or for a later time, do not keep the sweep from other builds.

Previously, the sweep read the 500 most urgent pending builds of all queues. Deletions for a host that was removed wait
forever, and are more urgent than the pools' starts: with 500 of them, no start whose message was lost was ever sent
again. Failed deletions whose next attempt was not yet due could hide a failed claim hook in the same way.
"""

from __future__ import annotations

import pytest
from sqlalchemy import update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildPriority, BuildStatus, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep import sweep as sweeps
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill, finish_builds, jump, turn, workspaces


@pytest.fixture(autouse=True)
def _small_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "BATCH", 3)


def test_lost_starts_beside_a_retired_hosts_deletions(database: Database, settings: Settings) -> None:
    declare(database, settings, 5)
    fill(database, settings)
    for row in workspaces(database):
        end_workspace(database, row.name, actor="op", operator=True)
    with database.write() as connection:
        connection.execute(update(m.Build).where(m.Build.transition == Transition.DELETE).values(queue="retired"))
    turn(database, settings)
    jump(database, 3600)
    lost = {
        build.id for build in sweep(database, settings, lambda host: 5 if host == "retired" else 0).follow_up.builds
    }
    with database.read() as connection:
        starts = connection.execute(m.Build.__table__.select().where(m.Build.queue == "")).all()
    waiting = {row.id for row in starts if row.status is BuildStatus.PENDING}
    assert len(lost) == 3
    assert lost <= waiting


def test_a_failed_hook_beside_deletions_that_failed_often(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "BATCH", 1)
    declare(database, settings, 4)
    fill(database, settings)
    for row in workspaces(database)[:3]:
        end_workspace(database, row.name, actor="op", operator=True)
    finish_builds(database, status=BuildStatus.FAILED)
    claim(database, ClaimRequest("ada", [PRESET]))
    finish_builds(database, status=BuildStatus.FAILED)
    jump(database, 3600)
    with database.write() as connection:
        deletions = update(m.Build).where(m.Build.transition == Transition.DELETE)
        connection.execute(deletions.values(completed_at=database.now(connection)))
    result = sweep(database, settings, lambda _: 0)
    assert result.retried == 1
    [hers] = workspaces(database, m.Workspace.owner == "ada")
    with database.read() as connection:
        build = connection.execute(m.Build.__table__.select().where(m.Build.id == result.follow_up.builds[0].id)).one()
    assert (build.workspace_id, build.priority) == (hers.id, BuildPriority.PERSON_WAITS)
