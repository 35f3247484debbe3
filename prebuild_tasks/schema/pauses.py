"""The pause of the whole installation."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict, cast

from sqlalchemy import Connection, select

from prebuild_tasks.schema import tables as m

PAUSED_KEY = "paused"


class StoredPause(TypedDict, total=False):
    """Who paused a pool or everything, as it is stored; instants in ISO 8601."""

    by: str
    reason: str
    since: str
    until: str | None
    """When the pause ends by itself; None: when somebody resumes."""


def pause_holds(paused: StoredPause | None, now: datetime) -> bool:
    """Whether a stored pause is in force: until its end, if it has one."""
    if not paused:
        return False
    until = paused.get("until")
    return until is None or now < datetime.fromisoformat(until)


def global_pause(connection: Connection) -> StoredPause | None:
    """Who paused everything, why and until when; None while nothing is paused."""
    query = select(m.Setting.value).where(m.Setting.key == PAUSED_KEY)
    return cast("StoredPause | None", connection.execute(query).scalar_one_or_none())
