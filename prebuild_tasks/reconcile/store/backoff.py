"""The slow start of `rules/backoff.py`, in SQL."""

from __future__ import annotations

from sqlalchemy import ColumnElement, SQLColumnExpression, case, null

from prebuild_tasks.reconcile.rules.backoff import SLOW_START_ENDS_AT


def slow_start_after_sql(limit: SQLColumnExpression[int | None]) -> ColumnElement[int | None]:
    """Build the limit of `slow_start_after` that follows a success."""
    return case((limit * 2 < SLOW_START_ENDS_AT, limit * 2), else_=null())
