"""The history of everything as an audit reads it: the newest event first, page by page, with filters."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, false, or_

from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import Listener, sees_event_sql
from prebuild_tasks.insight.history import (
    StoredEvent,
    events_query,
    find_workspace_id,
    is_of_pool,
    mentions_of,
    only_changes_of,
    read_rows,
)
from prebuild_tasks.insight.status.pages import seen_presets
from prebuild_tasks.model.event_kinds import ALL_KINDS
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.events import is_of_kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """The events that are asked for. An empty field restricts nothing."""

    workspace: str = ""
    """Id, `owner/name` or name of a workspace, which may be deleted."""
    preset: str = ""
    """`template/preset`, over all its versions."""
    who: str = ""
    """The actor as one text, its name without the kind, or the owner on whose behalf it acted."""
    event: str = ""


def list_audit(
    database: Database, listener: Listener, wanted: AuditFilter, after: int | None, limit: int
) -> list[StoredEvent]:
    """List events of the history, newest first, that a listener sees, beginning after the row of the id `after`.

    Who does not see everything sees what is about a workspace or a pool within reach, and the pauses of all pools.
    Raises NotFoundError for a pool that does not exist, or is out of reach.
    """
    table = m.History
    with database.read() as connection:
        conditions = [*sees_event_sql(listener), *_asked_for(connection, listener, wanted)]
        if not listener.reach.is_everything:
            about_something = or_(table.workspace_id.is_not(None), table.preset_id.is_not(None))
            conditions.append(or_(about_something, is_of_kinds(ALL_KINDS)))
        if after is not None:
            conditions.append(table.id < after)
        rows = read_rows(connection, events_query().where(*conditions).order_by(table.id.desc()).limit(limit))
    if not wanted.preset:
        return rows
    mentions = mentions_of(PresetRef.parse(wanted.preset).pool)
    return [StoredEvent(row.id, only_changes_of(row.event, mentions)) for row in rows]


def _asked_for(connection: Connection, listener: Listener, wanted: AuditFilter) -> list[ColumnElement[bool]]:
    table, conditions = m.History, list[ColumnElement[bool]]()
    if wanted.workspace:
        workspace_id = find_workspace_id(connection, wanted.workspace)
        conditions.append(table.workspace_id == workspace_id if workspace_id else false())
    if wanted.preset:
        conditions.append(is_of_pool(wanted.preset, seen_presets(connection, listener.reach, wanted.preset)))
    if wanted.who:
        conditions.append(
            or_(table.actor == wanted.who, table.actor_name == wanted.who, table.actor_subject == wanted.who)
        )
    if wanted.event:
        conditions.append(table.event == wanted.event)
    return conditions
