"""Guarded transitions. Each write carries its expectation in `where`, and the rows it answers are the proof of it.

Locks are taken in the order of `schema/row_locks.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, select, update

from prebuild_tasks.model.vocabulary import (
    FINAL_STATUSES,
    BuildPriority,
    BuildStatus,
    Transition,
)
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_LIVE_PREBUILD, IS_RUNNING
from prebuild_tasks.schema.row_locks import skip_locked
from prebuild_tasks.workspaces.new_builds import ORIGIN_COLUMNS, BuildOrigin, NewBuild, insert_builds


def choose_for_deletion(
    connection: Connection, workspace_ids: Collection[str], *, reason: str, initiator: str, now: datetime
) -> list[NewBuild]:
    """Begin deleting running prebuilds. One that was claimed, or chosen before, in the meantime is left alone."""
    if not workspace_ids:
        return []
    chosen = connection.execute(
        update(m.Workspace)
        .where(m.Workspace.id.in_(sorted(workspace_ids)), IS_LIVE_PREBUILD, IS_RUNNING)
        .values(_next_build(Transition.DELETE, reason))
        .returning(*ORIGIN_COLUMNS)
    ).all()
    return insert_builds(
        connection, BuildOrigin.of(chosen), transition=Transition.DELETE, reason=reason, initiator=initiator, now=now
    )


def cancel_pending(
    connection: Connection, preset_id: int, count: int, *, reason: str, initiator: str, now: datetime
) -> tuple[int, list[NewBuild]]:
    """Cancel first start builds no runner has, newest first. Returns how many, and the deletions that follow.

    A build that a runner once had may own resources: its workspace is deleted, not just closed.
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
            IS_LIVE_PREBUILD,
        )
        .order_by(m.Build.attempt, m.Build.created_at.desc(), m.Build.id)
        .limit(count)
    )
    candidates = connection.execute(skip_locked(query, of=m.Build)).scalars()
    return cancel_starts(connection, list(candidates), reason=reason, initiator=initiator, now=now)


def cancel_starts(
    connection: Connection,
    build_ids: Collection[str],
    *,
    reason: str,
    initiator: str,
    now: datetime,
    whose: ColumnElement[bool] = IS_LIVE_PREBUILD,
    error: str = "",
) -> tuple[int, list[NewBuild]]:
    """Cancel those of these start builds that no runner has and whose workspace is the pool's, or as `whose` says.

    Answers as `cancel_pending`. `error`: words for who waits for the build.
    """
    canceled = connection.execute(
        update(m.Build)
        .where(
            m.Build.id.in_(build_ids),
            m.Build.status == BuildStatus.PENDING,
            # Read again, now that the build is locked: a person may have been given it in the meantime.
            m.Build.workspace_id.in_(select(m.Workspace.id).where(whose)),
        )
        .values(status=BuildStatus.CANCELED, completed_at=now, error=error, error_code=reason)
        .returning(m.Build.workspace_id, m.Build.attempt)
    ).all()
    begun = [row.workspace_id for row in canceled if row.attempt > 0]
    for ids, closed in (([row.workspace_id for row in canceled if row.attempt == 0], now), (begun, None)):
        if ids:
            connection.execute(
                update(m.Workspace)
                .where(m.Workspace.id.in_(ids))
                .values(status=BuildStatus.CANCELED, deleted_at=closed, slot=None, reason=reason)
            )
    return len(canceled), delete_workspaces(connection, begun, reason=reason, initiator=initiator, now=now)


def delete_workspaces(
    connection: Connection,
    workspace_ids: Collection[str],
    *,
    reason: str,
    initiator: str,
    now: datetime,
    priority: int = BuildPriority.DELETE,
    only: Collection[ColumnElement[bool]] = (),
) -> list[NewBuild]:
    """Begin deleting workspaces whose latest build has ended, whoever owns them. The caller answers for the owner.

    `only`: why they were chosen. It may no longer be true once the row's lock is had, and then they stay.
    """
    if not workspace_ids:
        return []
    chosen = connection.execute(
        update(m.Workspace)
        .where(
            m.Workspace.id.in_(sorted(workspace_ids)),
            m.Workspace.deleted_at.is_(None),
            # The workspace's own column: a subquery on builds would not be read again after waiting for the row.
            m.Workspace.status.in_(FINAL_STATUSES),
            *only,
        )
        .values(_next_build(Transition.DELETE, reason))
        .returning(*ORIGIN_COLUMNS)
    ).all()
    return insert_builds(
        connection,
        BuildOrigin.of(chosen),
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
    """Begin a workspace's latest build once more, if that is still the failed one."""
    chosen = connection.execute(
        update(m.Workspace)
        .where(
            m.Workspace.id == failed.workspace_id,
            m.Workspace.build_number == failed.number,
            m.Workspace.status == BuildStatus.FAILED,
        )
        .values(status=BuildStatus.PENDING, build_number=m.Workspace.build_number + 1)
        .returning(*ORIGIN_COLUMNS)
    ).all()
    return insert_builds(
        connection,
        BuildOrigin.of(chosen),
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
