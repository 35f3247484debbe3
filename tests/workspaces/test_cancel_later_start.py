"""A pending start that is not its workspace's first build owns what the first build made.

It used to be canceled like a first one, and its workspace closed, which left the resource behind.
"""

from __future__ import annotations

import uuid

from sqlalchemy import insert, select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.transitions import cancel_starts
from tests.support.builders import declare, fill, finish_builds, preset_id, workspaces


def start_again(database: Database, settings: Settings) -> str:
    """Fill a pool of one, and insert a second start of its prebuild; return the build's id."""
    declare(database, settings, 1)
    fill(database, settings)
    [row] = workspaces(database)
    build_id = str(uuid.uuid4())
    with database.write() as connection:
        connection.execute(update(m.Workspace).values(status=BuildStatus.PENDING, build_number=2))
        connection.execute(
            insert(m.Build).values(
                id=build_id, workspace_id=row.id, organization_id=row.organization_id, preset_id=row.preset_id,
                number=2, transition=Transition.START, status=BuildStatus.PENDING, reason="again",
                initiator="reconciler", priority=2, queue="", created_at=database.now(connection),
            )
        )  # fmt: skip
    return build_id


def builds(database: Database) -> list[tuple[int, str, str]]:
    with database.read() as connection:
        rows = connection.execute(select(m.Build).order_by(m.Build.number)).all()
    return [(row.number, row.transition.value, row.status.value) for row in rows]


def test_a_pool_that_is_not_wanted_leaves_it_to_its_end(database: Database, settings: Settings) -> None:
    identity = preset_id_of(database, settings)
    assert reconcile_preset(database, settings, identity).canceled == 0
    assert builds(database) == [(1, "start", "succeeded"), (2, "start", "pending")]
    [row] = workspaces(database)
    assert row.resource_id
    finish_builds(database)
    assert reconcile_preset(database, settings, identity).deleted == 1, "what it made is deleted once it has ended"
    finish_builds(database)
    assert workspaces(database) == []


def preset_id_of(database: Database, settings: Settings) -> int:
    start_again(database, settings)
    identity = preset_id(database)
    with database.write() as connection:
        connection.execute(update(m.Template).values(active_version_id=None))
    return identity


def test_one_that_is_canceled_for_another_reason_is_deleted(database: Database, settings: Settings) -> None:
    build_id = start_again(database, settings)
    with database.write() as connection:
        now = database.now(connection)
        count, deletions = cancel_starts(connection, [build_id], reason="host_lost", initiator="reconciler", now=now)
    assert (count, len(deletions)) == (1, 1)
    assert builds(database) == [(1, "start", "succeeded"), (2, "start", "canceled"), (3, "delete", "pending")]
    assert len(workspaces(database)) == 1
