"""The pause of the whole installation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from prebuild_tasks.schema import tables as m

PAUSED_KEY = "paused"


def pause_holds(paused: Mapping[str, Any] | None, now: datetime) -> bool:
    """Whether a stored pause is in force: until its end, if it has one."""
    if not paused:
        return False
    until = paused.get("until")
    return until is None or now < datetime.fromisoformat(until)


def global_pause(connection: Connection) -> Mapping[str, Any] | None:
    """Who paused everything, why and until when; None while nothing is paused."""
    return connection.execute(select(m.Setting.value).where(m.Setting.key == PAUSED_KEY)).scalar_one_or_none()
