"""The pause of the whole installation."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict, cast

from sqlalchemy import Connection, select

from prebuild_tasks.schema import tables as m

PAUSED_KEY = "paused"


class StoredPause(TypedDict, total=False):
    """A pause of a pool or of the whole installation, as it is stored. Times are in ISO 8601."""

    by: str
    reason: str
    since: str
    until: str | None
    """End of the pause. None: it lasts until somebody resumes."""


def pause_holds(paused: StoredPause | None, now: datetime) -> bool:
    """Return whether a stored pause is in force at `now`."""
    if not paused:
        return False
    until = paused.get("until")
    return until is None or now < datetime.fromisoformat(until)


def global_pause(connection: Connection) -> StoredPause | None:
    """Read the pause of the whole installation, or None if there is none. It may be over: see `pause_holds`."""
    query = select(m.Setting.value).where(m.Setting.key == PAUSED_KEY)
    return cast("StoredPause | None", connection.execute(query).scalar_one_or_none())
