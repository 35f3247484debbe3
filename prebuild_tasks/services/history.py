"""Who did what to a workspace or a pool, why and when. Reads only; works for what is gone, too."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from prebuild_tasks.core.names import PREBUILD_PREFIX, as_id
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage.conditions import resolve_preset
from prebuild_tasks.storage.engine import Database


def history(database: Database, name: str, *, limit: int = 200) -> list[dict[str, Any]]:
    """What happened to a workspace (id, `owner/name`, name) or to `template/preset`; the newest `limit`, oldest first.

    `owner/name` and `template/preset` look alike: a workspace is meant where there is one. Raises NotFoundError.
    """
    with database.read() as connection:
        if workspace_id := _workspace(connection, name):
            meant = m.History.workspace_id == workspace_id
        elif "/" in name:
            meant = m.History.preset_id == resolve_preset(connection, name)
        else:
            raise NotFoundError(f"there is no history of {name}", hint="name a workspace, or template/preset")
        query = (
            select(m.History, m.Workspace.name.label("workspace"))
            .outerjoin(m.Workspace, m.Workspace.id == m.History.workspace_id)
            .where(meant)
            .order_by(m.History.id.desc())
            .limit(limit)
        )
        rows = connection.execute(query).all()
    return [
        {
            "at": row.at.isoformat(),
            "actor": row.actor,
            "event": row.event,
            "workspace": row.workspace or row.workspace_id,
            "reason": row.reason,
            "details": row.details,
        }
        for row in reversed(rows)
    ]


def _workspace(connection: Connection, name: str) -> str | None:
    """The workspace meant, the newest of several: what is deleted still has its history."""
    table = m.Workspace
    if identity := as_id(name):
        return identity
    owner, _, short = name.rpartition("/")
    # A claimed workspace was once called by its prebuild's name.
    named = table.name.in_((short, short.removeprefix(PREBUILD_PREFIX)))
    query = select(table.id).where(named).order_by(table.deleted_at.is_not(None), table.created_at.desc()).limit(1)
    return connection.execute(query.where(table.owner == owner) if owner else query).scalar_one_or_none()
