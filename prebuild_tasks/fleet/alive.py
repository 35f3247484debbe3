"""Whether a process is alive, from its row: in Python and in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_

from prebuild_tasks.schema import tables as m


def is_alive(ended_at: datetime | None, seen_at: datetime, since: datetime) -> bool:
    """Whether a process was heard of since then, and has not said that it ends."""
    return ended_at is None and seen_at >= since


def is_alive_sql(since: datetime) -> ColumnElement[bool]:
    """Build the condition of `is_alive`, of a row of `workers`."""
    return and_(m.Worker.ended_at.is_(None), m.Worker.seen_at >= since)
