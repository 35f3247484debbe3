"""The condition for a live process, whose rule is in `rules.py`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, exists, literal_column

from prebuild_tasks.fleet.presence import BUILDS_ROLE
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import constant


def is_alive_sql(since: datetime | ColumnElement[datetime]) -> ColumnElement[bool]:
    """Build the condition of `is_alive` on a row of `workers`."""
    return and_(m.Worker.ended_at.is_(None), m.Worker.seen_at >= since)


def served_column(host: SQLColumnExpression[str], since: datetime | ColumnElement[datetime]) -> ColumnElement[bool]:
    """Build the condition that a builds worker is alive that can reach a workspace: on its host, or any if it is empty.

    It is a subquery without a join, to be a column of another statement.
    """
    own = host.in_([constant(""), m.Worker.host])
    alive = exists(literal_column("1")).where(m.Worker.role == constant(BUILDS_ROLE), is_alive_sql(since), own)
    return alive.correlate_except(m.Worker)
