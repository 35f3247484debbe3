"""`rules/backoff.py`'s slow start, in SQL."""

from __future__ import annotations

from sqlalchemy import ColumnElement, SQLColumnExpression, case

from prebuild_tasks.reconcile.rules.backoff import SLOW_START_ENDS_AT, slow_start_after

_WIDTHS = tuple(2**power for power in range(SLOW_START_ENDS_AT.bit_length()))


def slow_start_after_sql(limit: SQLColumnExpression[int | None]) -> ColumnElement[int | None]:
    """Build the limit that follows a success. A stored limit is a power of two: it begins at one and is doubled."""
    doubled = {width: slow_start_after(width, succeeded=True) for width in _WIDTHS}
    return case(doubled, value=limit, else_=None)
