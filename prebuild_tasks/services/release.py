"""Ending workspaces by hand: `release` by their owner, `delete` by an operator."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from prebuild_tasks.core.model import PREBUILDS_OWNER, BuildPriority, BuildStatus, Transition
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.services.status import find_workspace, workspace_state
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage import writes
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.writes import NewBuild


def end_workspace(
    database: Database, name: str, *, actor: str, operator: bool = False
) -> tuple[str, int, list[NewBuild]]:
    """Begin deleting a workspace; returns its id, its preset and the builds to publish.

    `release` (not `operator`) takes claimed workspaces only. Ending one that is being deleted already is no error.
    Raises NotFoundError, RefusedError.
    """
    reason = "operator" if operator else "released"
    with database.write() as connection:
        now = database.now(connection)
        row = find_workspace(connection, name)
        if not operator and row.owner == PREBUILDS_OWNER:
            raise RefusedError(f"{row.name} is not claimed", hint=f"to remove a prebuild: prebuild delete {row.name}")
        builds = writes.delete_workspaces(
            connection, [row.id], reason=reason, initiator=actor, now=now, priority=BuildPriority.DELETE
        )
        if not builds and row.transition is not Transition.DELETE:
            builds = _cancel_open_build(connection, row, reason, actor, now)
        writes.add_history(
            connection, reason, now=now, actor=actor, workspace_ids=[row.id], preset_id=row.preset_id, reason=reason
        )
    return row.id, row.preset_id, builds


def _cancel_open_build(connection: Connection, row: Any, reason: str, actor: str, now: datetime) -> list[NewBuild]:
    """A start is under way: pending ones end here, running ones are asked to, and their end deletes the workspace."""
    ended = connection.execute(
        update(m.Build)
        .where(m.Build.workspace_id == row.id, m.Build.status == BuildStatus.PENDING)
        .values(status=BuildStatus.CANCELED, completed_at=now, error_code=reason)
    )
    if ended.rowcount:
        connection.execute(update(m.Workspace).where(m.Workspace.id == row.id).values(status=BuildStatus.CANCELED))
        return writes.delete_workspaces(connection, [row.id], reason=reason, initiator=actor, now=now)
    asked = connection.execute(
        update(m.Build)
        .where(m.Build.workspace_id == row.id, m.Build.status == BuildStatus.RUNNING)
        .values(status=BuildStatus.CANCELING, initiator=actor)
    )
    if not asked.rowcount:
        # It ended since we looked, so now it can be deleted as anything that rests.
        if builds := writes.delete_workspaces(connection, [row.id], reason=reason, initiator=actor, now=now):
            return builds
        raise RefusedError(f"{row.name} is {workspace_state(row)}", hint="try again in a moment")
    # Its slot is free from now on: what is being canceled will never be claimed.
    connection.execute(
        update(m.Workspace).where(m.Workspace.id == row.id).values(status=BuildStatus.CANCELING, slot=None)
    )
    return []
