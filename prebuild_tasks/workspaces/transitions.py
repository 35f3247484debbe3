"""Guarded transitions of workspaces.

The WHERE clause of each write repeats what the caller expects of the row, so only rows for which it still holds are
written and returned. Locks are taken in the order of `schema/row_locks.py`.

Several workspaces are locked in any order, over several statements, only under their preset's lock, or after they were
locked in the order of their ids. Nobody else changes several of them at a time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, select, update

from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.event_kinds import build_event
from prebuild_tasks.model.vocabulary import (
    FINAL_STATUSES,
    BuildPriority,
    BuildStatus,
    Transition,
)
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_LIVE_PREBUILD, IS_RUNNING
from prebuild_tasks.schema.history import Record, add_records
from prebuild_tasks.schema.row_locks import skip_locked
from prebuild_tasks.workspaces.follow_ups import NewBuild
from prebuild_tasks.workspaces.new_builds import insert_builds, update_workspaces


def choose_for_deletion(
    connection: Connection, workspace_ids: Collection[str], *, reason: str, initiator: str, now: datetime
) -> list[NewBuild]:
    """Begin deleting running prebuilds, except those that were claimed or chosen in the meantime."""
    if not workspace_ids:
        return []
    chosen = update_workspaces(
        connection,
        update(m.Workspace)
        .where(m.Workspace.id.in_(sorted(workspace_ids)), IS_LIVE_PREBUILD, IS_RUNNING)
        .values(_next_build(Transition.DELETE, reason)),
    )
    return insert_builds(connection, chosen, transition=Transition.DELETE, reason=reason, initiator=initiator, now=now)


def cancel_pending(
    connection: Connection, preset_id: int, count: int, *, reason: str, initiator: str, now: datetime
) -> tuple[int, list[NewBuild]]:
    """Cancel up to `count` pending first builds of a preset, builds without an attempt first, then the newest.

    A later start of a workspace is left alone: its first build made a resource. It ends by itself, and what is then too
    much is deleted.

    Returns:
        The number of canceled builds, and the deletions that follow: a build that has been attempted may have created
        resources, so its workspace is deleted.
    """
    if count <= 0:
        return 0, []
    query = (
        select(m.Build.id)
        .join(m.Workspace, and_(m.Workspace.id == m.Build.workspace_id, m.Workspace.build_number == m.Build.number))
        .where(
            m.Build.preset_id == preset_id,
            m.Build.transition == Transition.START,
            m.Build.status == BuildStatus.PENDING,
            m.Build.number == 1,
            IS_LIVE_PREBUILD,
        )
        .order_by(m.Build.attempt, m.Build.created_at.desc(), m.Build.id)
        .limit(count)
    )
    candidates = connection.execute(skip_locked(query, of=m.Build)).scalars()
    return cancel_starts(connection, list(candidates), reason=reason, initiator=initiator, now=now)


def cancel_starts(  # the builds, whose they must be, and the columns that record why
    connection: Connection,
    build_ids: Collection[str],
    *,
    reason: str,
    initiator: str,
    now: datetime,
    whose: ColumnElement[bool] = IS_LIVE_PREBUILD,
    error: str = "",
) -> tuple[int, list[NewBuild]]:
    """Cancel those of these start builds that are pending and whose workspace is still the pool's.

    The caller has locked the builds with `skip_locked`, so this waits for none of them.

    Args:
        connection: The connection to write with.
        build_ids: The builds.
        reason: The reason code of the cancellation.
        initiator: The part of the service that cancels them.
        now: The database's time.
        whose: The condition for their workspaces.
        error: A message for the person who waits for the build.

    Returns:
        The number of canceled builds, and the deletions of workspaces that may have resources: their builds have been
        attempted, or are not their first.
    """
    canceled = connection.execute(
        update(m.Build)
        .where(
            m.Build.id.in_(build_ids),
            m.Build.status == BuildStatus.PENDING,
            # Checked again now that the build is locked: it may have been reserved for a person in the meantime.
            m.Build.workspace_id.in_(select(m.Workspace.id).where(whose)),
        )
        .values(status=BuildStatus.CANCELED, completed_at=now, error=error, error_code=reason)
        .returning(m.Build.id, m.Build.workspace_id, m.Build.preset_id, m.Build.attempt, m.Build.number)
    ).all()
    records = [
        Record(
            event=build_event(Transition.START, reason, BuildStatus.CANCELED), actor=Actor.system(initiator),
            workspace_id=row.workspace_id, preset_id=row.preset_id, reason=error or reason, details={"build": row.id},
        )
        for row in canceled
    ]  # fmt: skip
    add_records(connection, records, now=now)
    attempted = [row.workspace_id for row in canceled if row.attempt > 0 or row.number > 1]
    untried = [row.workspace_id for row in canceled if row.attempt == 0 and row.number == 1]
    for ids, deleted_at in ((untried, now), (attempted, None)):
        if ids:
            connection.execute(
                update(m.Workspace)
                .where(m.Workspace.id.in_(ids))
                .values(status=BuildStatus.CANCELED, deleted_at=deleted_at, slot=None, reason=reason)
            )
    return len(canceled), delete_workspaces(connection, attempted, reason=reason, initiator=initiator, now=now)


def record_deletions(connection: Connection, builds: Collection[NewBuild], *, event: str, now: datetime) -> None:
    """Write to the history which workspaces these builds delete, and why: `event` is the reason for the deletion."""
    if not builds:
        return
    query = select(m.Build.workspace_id, m.Build.preset_id).where(m.Build.id.in_([build.id for build in builds]))
    rows = connection.execute(query.order_by(m.Build.preset_id, m.Build.workspace_id)).all()
    by = Actor.system()
    records = [
        Record(event=event, actor=by, workspace_id=row.workspace_id, preset_id=row.preset_id, reason=event)
        for row in rows
    ]
    add_records(connection, records, now=now)


def delete_workspaces(  # every argument after the workspaces is a column of the builds, but for `only`
    connection: Connection,
    workspace_ids: Collection[str],
    *,
    reason: str,
    initiator: str,
    now: datetime,
    priority: int = BuildPriority.DELETE,
    only: Collection[ColumnElement[bool]] = (),
) -> list[NewBuild]:
    """Begin deleting workspaces whose latest build has ended.

    Ownership is not checked: the caller must know that their owners lose nothing, or name it in `only`.

    Args:
        connection: The connection to write with.
        workspace_ids: The workspaces.
        reason: The reason code of the deletion.
        initiator: Who deletes them.
        now: The database's time.
        priority: The builds' priority.
        only: The conditions for which they were chosen. A workspace for which one no longer holds once its row is
            locked is left alone.
    """
    if not workspace_ids:
        return []
    chosen = update_workspaces(
        connection,
        update(m.Workspace)
        .where(
            m.Workspace.id.in_(sorted(workspace_ids)),
            m.Workspace.deleted_at.is_(None),
            # The workspace's column and not the build's: after waiting for the row, a subquery is not read again.
            m.Workspace.status.in_(FINAL_STATUSES),
            *only,
        )
        .values(_next_build(Transition.DELETE, reason)),
    )
    return insert_builds(
        connection,
        chosen,
        transition=Transition.DELETE,
        reason=reason,
        initiator=initiator,
        now=now,
        priority=priority,
    )


@dataclass(frozen=True, slots=True)
class FailedBuild:
    """The latest build of a workspace, which has failed."""

    workspace_id: str
    number: int
    transition: Transition


def repeat_failed(
    connection: Connection, failed: FailedBuild, *, reason: str, initiator: str, now: datetime, priority: int
) -> list[NewBuild]:
    """Begin a workspace's latest build again, if that is still the one that failed."""
    chosen = update_workspaces(
        connection,
        update(m.Workspace)
        .where(
            m.Workspace.id == failed.workspace_id,
            m.Workspace.build_number == failed.number,
            m.Workspace.status == BuildStatus.FAILED,
        )
        .values(status=BuildStatus.PENDING, build_number=m.Workspace.build_number + 1),
    )
    return insert_builds(
        connection,
        chosen,
        transition=failed.transition,
        reason=reason,
        initiator=initiator,
        now=now,
        priority=priority,
    )


def _next_build(transition: Transition, reason: str) -> dict[str, object]:
    return {
        "transition": transition,
        "status": BuildStatus.PENDING,
        "build_number": m.Workspace.build_number + 1,
        "slot": None,
        "reason": reason,
    }
