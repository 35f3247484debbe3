"""The condition for a live process, whose rule is in `rules.py`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_

from prebuild_tasks.schema import tables as m


def is_alive_sql(since: datetime) -> ColumnElement[bool]:
    """Build the condition of `is_alive` on a row of `workers`."""
    return and_(m.Worker.ended_at.is_(None), m.Worker.seen_at >= since)
