"""End a workspace by command: `release` by its owner, `delete` by an operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select, update

from prebuild_tasks.access import EVERYTHING, Reach, sees_workspace_sql
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.event_kinds import build_event
from prebuild_tasks.model.vocabulary import FINAL_STATUSES, PREBUILDS_OWNER, BuildStatus, Transition
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.lookup import FoundWorkspace, find_workspace, has_id
from prebuild_tasks.schema.row_locks import for_no_key_update
from prebuild_tasks.workspaces import transitions
from prebuild_tasks.workspaces.follow_ups import FollowUp, NewBuild


@dataclass(frozen=True, slots=True)
class Ending:
    """A workspace that is being deleted."""

    workspace_id: str
    follow_up: FollowUp
    """The build that deletes it, unless it has already begun, and a turn of its pool."""


def end_workspace(
    database: Database,
    name: str,
    *,
    workspace_id: str = "",
    actor: str | Actor,
    operator: bool = False,
    reach: Reach = EVERYTHING,
) -> Ending:
    """Begin deleting a workspace. It is not an error if it is already being deleted.

    Args:
        database: The database.
        name: The workspace's name or id.
        workspace_id: Only the workspace with this id, whatever has the name now; empty: any.
        actor: The person who asks.
        operator: Also delete prebuilds; otherwise only claimed workspaces.
        reach: Only a workspace within it.

    Raises:
        NotFoundError: There is no such workspace within reach.
        RefusedError: It is not claimed, or changed at the same moment.
    """
    reason = "operator" if operator else "released"
    with database.write() as connection:
        now = database.now(connection)
        within = sees_workspace_sql(reach)
        row = find_workspace(connection, name, *within, *([has_id(workspace_id)] if workspace_id else []))
        if not operator and row.owner == PREBUILDS_OWNER:
            raise RefusedError(
                f"{row.name} is not claimed",
                hint="to remove a prebuild, delete it",
                remedy=Remedy(RemedyKind.DELETE_WORKSPACE, row.name),
            )
        builds = transitions.delete_workspaces(
            connection, [row.id], reason=reason, initiator=str(actor), now=now,
            only=[m.Workspace.owner == row.owner, *within],
        )  # fmt: skip
        if not builds and row.transition is not Transition.DELETE:
            builds = _end_open_build(connection, row, reason, actor, now, within)
        add_history(
            connection, reason, now=now, actor=actor, workspace_ids=[row.id], preset_id=row.preset_id, reason=reason
        )
    return Ending(row.id, FollowUp.of(builds, [row.preset_id]))


def _end_open_build(
    connection: Connection,
    row: FoundWorkspace,
    reason: str,
    actor: str | Actor,
    now: datetime,
    within: Sequence[ColumnElement[bool]],
) -> list[NewBuild]:
    """End the workspace's unfinished build: cancel a pending one, and ask a running one to stop.

    The end of a running build deletes its workspace.
    """
    # Lock the build with the statement that reads it: between two statements it could be taken, put back, or end.
    query = select(m.Build.id, m.Build.status, m.Build.transition, m.Build.reason).where(
        m.Build.workspace_id == row.id, m.Build.status.not_in(FINAL_STATUSES)
    )
    build = connection.execute(for_no_key_update(query)).one_or_none()
    now_called = connection.execute(select(m.Workspace.owner, m.Workspace.name).where(m.Workspace.id == row.id)).one()
    if (owner := now_called.owner) != row.owner:
        hint = f"delete {owner}/{now_called.name} to delete it anyway"
        raise RefusedError(f"{row.name} was just claimed by {owner}", hint=hint)
    if build is None:
        # The build ended after the workspace was read, so the workspace can be deleted now.
        builds = transitions.delete_workspaces(
            connection, [row.id], reason=reason, initiator=str(actor), now=now,
            only=[m.Workspace.owner == owner, *within],
        )  # fmt: skip
        if not builds and not _is_being_deleted(connection, row.id):
            raise RefusedError(f"{row.name} has just begun another build", hint="try again")
        return builds
    if build.transition is Transition.DELETE or build.status is BuildStatus.CANCELING:
        return []  # another command has already ended it
    unfinished = update(m.Build).where(m.Build.id == build.id)
    workspace = update(m.Workspace).where(m.Workspace.id == row.id)
    if build.status is BuildStatus.PENDING:
        connection.execute(unfinished.values(status=BuildStatus.CANCELED, completed_at=now, error_code=reason))
        connection.execute(workspace.values(status=BuildStatus.CANCELED))
        add_history(
            connection, build_event(build.transition, build.reason, BuildStatus.CANCELED), now=now, actor=actor,
            workspace_ids=[row.id], preset_id=row.preset_id, reason=reason, details={"build": build.id},
        )  # fmt: skip
        return transitions.delete_workspaces(connection, [row.id], reason=reason, initiator=str(actor), now=now)
    connection.execute(unfinished.values(status=BuildStatus.CANCELING, initiator=str(actor)))
    # Free the slot now: a workspace whose start is being canceled will never be claimed.
    connection.execute(workspace.values(status=BuildStatus.CANCELING, slot=None))
    return []


def _is_being_deleted(connection: Connection, workspace_id: str) -> bool:
    query = select(m.Workspace.transition, m.Workspace.deleted_at).where(m.Workspace.id == workspace_id)
    row = connection.execute(query).one_or_none()
    return row is None or row.deleted_at is not None or row.transition is Transition.DELETE
