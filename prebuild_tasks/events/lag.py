"""The lag of the event log: how far numbering is behind what was committed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from prebuild_tasks.schema import tables as m

_OLDEST = select(m.History.at).where(m.History.number.is_(None)).order_by(m.History.id).limit(1)


def log_lag(connection: Connection, now: datetime) -> float:
    """Return the age in seconds of the oldest event without a number; 0: all have theirs, as always on SQLite."""
    if connection.dialect.name == "sqlite":
        return 0.0
    oldest = connection.execute(_OLDEST).scalar_one_or_none()
    return 0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0)
