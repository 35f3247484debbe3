"""Guarded transitions. Each write carries its expectation in `where`, and the rows it answers are the proof of it.

Locks are always taken in this order, so that nobody waits in a circle:
preset, organization, installation, build, workspace.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, insert, select, update

from prebuild_tasks.core.model import (
    FINAL_STATUSES,
    PREBUILDS_OWNER,
    BuildPriority,
    BuildStatus,
    PresetStatus,
    Transition,
)
from prebuild_tasks.core.names import prebuild_name
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage.conditions import IS_LIVE_PREBUILD, IS_RUNNING
from prebuild_tasks.storage.new_builds import BuildOrigin, NewBuild, insert_builds
from prebuild_tasks.storage.reads import PresetView
from prebuild_tasks.storage.types import conflict_insert

_LOCK_PRESET = select(m.Preset.id).where(m.Preset.id == bindparam("preset_id")).with_for_update(key_share=True)


def lock_preset(connection: Connection, preset_id: int) -> bool:
    """Take the pool's row lock until the transaction ends; False when the preset is gone.

    NO KEY UPDATE: a claim or build that refers to the preset is not held up. On SQLite the transaction is the lock.
    """
    return connection.execute(_LOCK_PRESET, {"preset_id": preset_id}).one_or_none() is not None


def lock_organization(connection: Connection, organization_id: int) -> None:
    """Presets of one organization count what is in flight one after the other."""
    query = select(m.Organization.id).where(m.Organization.id == organization_id)
    connection.execute(query.with_for_update(key_share=True)).one()


def lock_installation(connection: Connection) -> None:
    """And with a global limit, all presets do."""
    connection.execute(select(m.Installation.id).with_for_update(key_share=True)).one()


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
        .returning(*_BUILD_ORIGIN)
    ).all()
    return insert_builds(connection, chosen, transition=Transition.DELETE, reason=reason, initiator=initiator, now=now)


def cancel_pending(
    connection: Connection, preset_id: int, count: int, *, reason: str, initiator: str, now: datetime
) -> tuple[int, list[NewBuild]]:
    """Cancel first start builds no runner has, newest first. Returns how many, and the deletions that follow.

    A build that a runner once had may own resources: its workspace is deleted, not just closed.
    """
    if count <= 0:
        return 0, []
    candidates = connection.execute(
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
        .with_for_update(key_share=True, skip_locked=True, of=m.Build)
    ).scalars()
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
        .returning(*_BUILD_ORIGIN)
    ).all()
    return insert_builds(
        connection,
        chosen,
        transition=Transition.DELETE,
        reason=reason,
        initiator=initiator,
        now=now,
        priority=priority,
    )


def repeat_failed(
    connection: Connection, workspace: Any, *, reason: str, initiator: str, now: datetime, priority: int
) -> list[NewBuild]:
    """Begin a workspace's latest build once more, if it is still the failed one that `workspace` (a row) shows."""
    chosen = connection.execute(
        update(m.Workspace)
        .where(
            m.Workspace.id == workspace.id,
            m.Workspace.build_number == workspace.build_number,
            m.Workspace.status == BuildStatus.FAILED,
        )
        .values(status=BuildStatus.PENDING, build_number=m.Workspace.build_number + 1)
        .returning(*_BUILD_ORIGIN)
    ).all()
    return insert_builds(
        connection,
        chosen,
        transition=workspace.transition,
        reason=reason,
        initiator=initiator,
        now=now,
        priority=priority,
    )


# With RETURNING the rows go in one statement of many values; without, the driver executes one for each.
_MANY_WORKSPACES = insert(m.Workspace).returning(m.Workspace.id)


def create_prebuilds(
    connection: Connection, view: PresetView, slots: Sequence[int], *, reason: str, initiator: str, now: datetime
) -> list[NewBuild]:
    """Insert one workspace and its start build per slot. A slot that is taken is an IntegrityError, never a surplus."""
    if not slots:
        return []
    origins = [BuildOrigin(str(uuid.uuid4()), 1, view.organization_id, view.preset_id, prebuild_name()) for _ in slots]
    connection.execute(
        _MANY_WORKSPACES,
        [
            {
                "id": origin.id,
                "name": origin.name,
                "owner": PREBUILDS_OWNER,
                "organization_id": view.organization_id,
                "preset_id": view.preset_id,
                "recipe_digest": view.recipe_digest,
                "slot": slot,
                "created_at": now,
                "transition": Transition.START,
                "status": BuildStatus.PENDING,
                "build_number": origin.build_number,
                "reason": reason,
            }
            for origin, slot in zip(origins, slots, strict=True)
        ],
    )
    return insert_builds(
        connection,
        origins,
        transition=Transition.START,
        reason=reason,
        initiator=initiator,
        now=now,
        priority=BuildPriority.PREBUILD,
    )


def move_slots(connection: Connection, moves: Mapping[str, int]) -> None:
    """Move live prebuilds into free lower slots, one by one, so that no two ever hold the same."""
    for workspace_id, slot in moves.items():
        connection.execute(
            update(m.Workspace).where(m.Workspace.id == workspace_id, m.Workspace.slot.is_not(None)).values(slot=slot)
        )


def bump_generation(connection: Connection, preset_id: int, now: datetime) -> None:
    """Count a writing decision."""
    connection.execute(
        update(m.Preset)
        .where(m.Preset.id == preset_id)
        .values(generation=m.Preset.generation + 1, last_reconciled_at=now)
    )


def set_preset_status(connection: Connection, preset_id: int, status: PresetStatus, reason: str) -> bool:
    """Store that a preset may (not) be built; False when it stood so already."""
    changed = connection.execute(
        update(m.Preset)
        .where(m.Preset.id == preset_id, m.Preset.status != status)
        .values(status=status, status_reason=reason)
    )
    return changed.rowcount == 1


def claim_turn(connection: Connection, key: str, now: datetime, interval: timedelta, *, actor: str) -> bool:
    """Whether something that is done once per interval, by whoever comes first, is due; if so, it is ours."""
    table = m.Setting
    last = connection.execute(select(table.updated_at).where(table.key == key)).scalar_one_or_none()
    if last is None:
        values = {"key": key, "value": {}, "updated_at": now, "updated_by": actor}
        first = conflict_insert(connection, table).values(values).on_conflict_do_nothing().returning(table.key)
        return connection.execute(first).first() is not None
    if now - last < interval:
        return False
    taken = update(table).where(table.key == key, table.updated_at == last)
    return connection.execute(taken.values(updated_at=now, updated_by=actor)).rowcount == 1


def add_history(
    connection: Connection,
    event: str,
    *,
    now: datetime,
    actor: str,
    workspace_ids: Iterable[str | None] = (None,),
    preset_id: int | None = None,
    reason: str = "",
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write who did what and why, one row per workspace."""
    rows = [
        {
            "at": now,
            "actor": actor,
            "event": event,
            "workspace_id": workspace_id,
            "preset_id": preset_id,
            "reason": reason,
            "details": dict(details) if details else None,
        }
        for workspace_id in workspace_ids
    ]
    if rows:
        connection.execute(insert(m.History), rows)


_BUILD_ORIGIN = (
    m.Workspace.id,
    m.Workspace.build_number,
    m.Workspace.organization_id,
    m.Workspace.preset_id,
    m.Workspace.name,
    m.Workspace.host,
)


def _next_build(transition: Transition, reason: str) -> dict[str, Any]:
    return {
        "transition": transition,
        "status": BuildStatus.PENDING,
        "build_number": m.Workspace.build_number + 1,
        "slot": None,
        "reason": reason,
    }
