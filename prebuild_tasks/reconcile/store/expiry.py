"""The rules of expiry in SQL. Each is true of the same workspaces as the rule without `_sql`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Interval, SQLColumnExpression, and_, func, literal, literal_column, or_

from prebuild_tasks.db.types import UtcDateTime, age_seconds
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_READY

Instant = datetime | ColumnElement[datetime]


def is_expired_sql(now: Instant) -> ColumnElement[bool]:
    """Build the condition that a workspace, joined with its preset, is expired at `now`."""
    return func.coalesce(
        or_(m.Workspace.created_at < m.Preset.last_invalidated_at, is_older_than_sql(now, m.Preset.ttl_s)),
        literal(value=False),
    )


def is_past_ttl_sql(now: Instant) -> ColumnElement[bool]:
    """Build the condition that a workspace, joined with its preset, is older than the TTL."""
    return func.coalesce(is_older_than_sql(now, m.Preset.ttl_s), literal(value=False))


def is_second_choice_sql(now: Instant) -> ColumnElement[bool]:
    """Build the condition of `is_second_choice` on a prebuild joined with its preset."""
    return and_(IS_READY, ~is_past_ttl_sql(now))


def is_past_half_ttl_sql(now: Instant) -> ColumnElement[bool]:
    """Build the condition of `is_past_half_ttl` on a workspace joined with its preset; NULL without a TTL."""
    return and_(m.Preset.ttl_s > 0, _age(now) * 2 >= m.Preset.ttl_s)


def is_older_than_sql(now: Instant, seconds: SQLColumnExpression[float | None]) -> ColumnElement[bool]:
    """Build the condition that a workspace, joined with its preset, has a TTL and is older than `seconds`."""
    return and_(m.Preset.ttl_s > 0, _age(now) > seconds)


def _age(now: Instant) -> ColumnElement[float]:
    instant = literal(now, UtcDateTime()) if isinstance(now, datetime) else now
    return age_seconds(instant, m.Workspace.created_at)


def fresh_since_sql(now: ColumnElement[datetime]) -> ColumnElement[datetime]:
    """Build the creation time from which on a preset's workspaces are not expired. PostgreSQL only.

    Unlike `is_expired_sql` it can be compared with an indexed column.
    """
    ttl = func.nullif(m.Preset.ttl_s, literal_column("0")) * literal_column("interval '1 second'", Interval())
    return func.greatest(literal_column("'-infinity'::timestamptz"), m.Preset.last_invalidated_at, now - ttl)
