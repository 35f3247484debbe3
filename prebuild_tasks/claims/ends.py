"""Read how a claimed workspace ended."""

from __future__ import annotations

from sqlalchemy import Connection, select

from prebuild_tasks.claims.rows import End
from prebuild_tasks.model.vocabulary import Transition
from prebuild_tasks.schema import tables as m

_ENDED_BY_COMMAND = ("released", "operator", "host_forgotten")
"""The events of the history by which a person ends a workspace."""


def read_end(connection: Connection, workspace_id: str, name: str, *, gone: bool) -> End:
    """Read how a workspace ended: by which command, or else, or if that began first, by which deletion.

    Args:
        connection: The connection to read with.
        workspace_id: The workspace.
        name: Its name; empty if its row is no longer kept.
        gone: It is deleted.
    """
    by_command = connection.execute(
        select(m.History.at, m.History.actor, m.History.event)
        .where(m.History.workspace_id == workspace_id, m.History.event.in_(_ENDED_BY_COMMAND))
        .order_by(m.History.id)
        .limit(1)
    ).one_or_none()
    deletion = connection.execute(
        select(m.Build.created_at, m.Build.initiator, m.Build.reason)
        .where(m.Build.workspace_id == workspace_id, m.Build.transition == Transition.DELETE)
        .order_by(m.Build.number)
        .limit(1)
    ).one_or_none()
    # Whoever releases what is being deleted already has not ended it.
    if by_command and (deletion is None or by_command.at <= deletion.created_at):
        return End(
            workspace=name, gone=gone, at=by_command.at, by=by_command.actor, reason=by_command.event, by_command=True
        )
    if deletion:
        return End(workspace=name, gone=gone, at=deletion.created_at, by=deletion.initiator, reason=deletion.reason)
    # Its builds are no longer kept.
    workspace = connection.execute(
        select(m.Workspace.deleted_at, m.Workspace.reason).where(m.Workspace.id == workspace_id)
    ).one_or_none()
    at, reason = (workspace.deleted_at, workspace.reason) if workspace else (None, "")
    return End(workspace=name, gone=gone, at=at, by="", reason=reason)
