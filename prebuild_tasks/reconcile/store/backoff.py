"""The slow start of `rules/backoff.py`, in SQL."""

from __future__ import annotations

from sqlalchemy import ColumnElement, SQLColumnExpression, case

from prebuild_tasks.reconcile.rules.backoff import SLOW_START_ENDS_AT, slow_start_after

_WIDTHS = tuple(2**power for power in range(SLOW_START_ENDS_AT.bit_length()))


def slow_start_after_sql(limit: SQLColumnExpression[int | None]) -> ColumnElement[int | None]:
    """Build the limit that follows a success. Stored limits are powers of two, because they double from 1."""
    doubled = {width: slow_start_after(width, succeeded=True) for width in _WIDTHS}
    return case(doubled, value=limit, else_=None)
