"""The rule for a live process, in Python and in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_

from prebuild_tasks.schema import tables as m


def is_alive(ended_at: datetime | None, seen_at: datetime, since: datetime) -> bool:
    """Return whether a process has announced itself at `since` or later, and has not announced its end."""
    return ended_at is None and seen_at >= since


def is_alive_sql(since: datetime) -> ColumnElement[bool]:
    """Build the condition of `is_alive` on a row of `workers`."""
    return and_(m.Worker.ended_at.is_(None), m.Worker.seen_at >= since)
