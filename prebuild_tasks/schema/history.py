"""Records of who did what to a workspace or a pool, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select

from prebuild_tasks.model.actors import Actor
from prebuild_tasks.schema import tables as m

REMEMBERED = timedelta(days=1)
"""How long `details_of` knows a request."""
_ACTOR_MAX = 100
"""Characters of the actor as one text."""


# The arguments are the columns of the table.
def add_history(
    connection: Connection,
    event: str,
    *,
    now: datetime,
    actor: str | Actor,
    workspace_ids: Iterable[str | None] = (None,),
    preset_id: int | None = None,
    reason: str = "",
    details: Mapping[str, object] | None = None,
) -> None:
    """Write an event to the history, one row per workspace; by default one row without a workspace."""
    who = Actor.of(actor)
    rows = [
        {
            "at": now,
            "actor": str(who)[:_ACTOR_MAX],
            "actor_kind": who.kind.value,
            "actor_name": who.name,
            "actor_subject": who.subject,
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


def details_of(connection: Connection, event: str, request: str, now: datetime) -> Mapping[str, object] | None:
    """Return the details of the recent event that has a request's mark as `request` in them; None: there is none."""
    query = select(m.History.details).where(m.History.at > now - REMEMBERED, m.History.event == event)
    recent = connection.execute(query).scalars()
    return next((details for details in recent if details and details.get("request") == request), None)
