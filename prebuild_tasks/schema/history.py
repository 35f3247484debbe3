"""Records of who did what to a workspace or a pool, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, bindparam, func, insert, select
from sqlalchemy.orm import InstrumentedAttribute

from prebuild_tasks.db.base import UuidText
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.schema import tables as m

REMEMBERED = timedelta(days=1)
"""How long a request about no single workspace is known, so that it is carried out once."""
_ACTOR_MAX = 100
"""Characters of the actor as one text."""


def _of_workspace(column: InstrumentedAttribute[str]) -> ColumnElement[str]:
    """Read a column of the workspace that a row of the history is about; empty without one."""
    of_row = select(column).where(m.Workspace.id == bindparam("of_workspace", type_=UuidText)).scalar_subquery()
    return func.coalesce(of_row, "")


_ROW = insert(m.History).values(
    workspace=_of_workspace(m.Workspace.name),
    owner=func.coalesce(
        func.nullif(bindparam("of_owner", type_=m.History.owner.type), ""), _of_workspace(m.Workspace.owner)
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a row of the history says."""

    event: str
    """What happened; `model.event_kinds` has the kinds of the event log."""
    actor: str | Actor
    workspace_id: str | None = None
    """None: it is about none."""
    preset_id: int | None = None
    """None: it is about none, or several."""
    owner: str = ""
    """The owner in question, if that is not the workspace's by now."""
    reason: str = ""
    details: Mapping[str, object] | None = None


# The arguments are the fields of a record.
def add_history(
    connection: Connection,
    event: str,
    *,
    now: datetime,
    actor: str | Actor,
    workspace_ids: Iterable[str | None] = (None,),
    preset_id: int | None = None,
    owner: str = "",
    reason: str = "",
    details: Mapping[str, object] | None = None,
) -> None:
    """Write an event to the history, one row per workspace; by default one row without a workspace."""
    records = [
        Record(
            event=event, actor=actor, workspace_id=workspace_id, preset_id=preset_id, owner=owner, reason=reason,
            details=details,
        )
        for workspace_id in workspace_ids
    ]  # fmt: skip
    add_records(connection, records, now=now)


def add_records(connection: Connection, records: Iterable[Record], *, now: datetime) -> None:
    """Write records to the history, and so to the event log, with the workspaces' names and owners as they are now."""
    rows = [_row(record, now) for record in records]
    if rows:
        connection.execute(_ROW, rows)


def _row(record: Record, now: datetime) -> dict[str, object]:
    who = Actor.of(record.actor)
    return {
        "at": now,
        "actor": str(who)[:_ACTOR_MAX],
        "actor_kind": who.kind.value,
        "actor_name": who.name,
        "actor_subject": who.subject,
        "event": record.event,
        "workspace_id": record.workspace_id,
        "of_workspace": record.workspace_id,
        "preset_id": record.preset_id,
        "of_owner": record.owner,
        "reason": record.reason,
        "details": dict(record.details) if record.details else None,
    }


def details_of(
    connection: Connection, event: str, request: str, within: ColumnElement[bool]
) -> Mapping[str, object] | None:
    """Return the details of the latest event, of the rows `within`, that has a request's mark as `request` in them.

    None: there is none, or the request has no mark.
    """
    if not request:
        return None
    query = select(m.History.details).where(m.History.event == event, within).order_by(m.History.id.desc())
    stored = connection.execute(query).scalars()
    return next((details for details in stored if details and details.get("request") == request), None)
