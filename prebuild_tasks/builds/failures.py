"""A pool's record of failed builds, kept on its own row so that clean-up and retention do not remove it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, ScalarSelect, func, or_, select, update
from sqlalchemy.orm import aliased

from prebuild_tasks.builds.rules import with_instant
from prebuild_tasks.db.base import ERROR_LENGTH
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.reconcile import slow_start_after, slow_start_after_sql
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.row_locks import for_no_key_update

_WIDER = slow_start_after_sql(m.Preset.slow_start)


def record_success(connection: Connection, preset_id: int) -> None:
    """Record that a start succeeded, which ends a series of failures. Writes nothing where there was none."""
    connection.execute(
        update(m.Preset)
        .where(m.Preset.id == preset_id, or_(m.Preset.failures_in_row > 0, m.Preset.slow_start.is_not(None)))
        .values(failures_in_row=0, recent_failures=[], last_error="", slow_start=_WIDER)
    )


def record_failure(connection: Connection, preset_id: int, created_at: datetime, error: str) -> None:
    """Record that a start failed. Locks the preset's row."""
    query = select(m.Preset.recent_failures).where(m.Preset.id == preset_id)
    row = connection.execute(for_no_key_update(query)).one()
    recent = with_instant(row.recent_failures, created_at)
    connection.execute(
        update(m.Preset)
        .where(m.Preset.id == preset_id)
        .values(
            failures_in_row=m.Preset.failures_in_row + 1,
            recent_failures=recent,
            last_error=error[:ERROR_LENGTH],
            slow_start=slow_start_after(None, succeeded=False),
        )
    )


def record_unhealthy(connection: Connection, preset_id: int, error: str, now: datetime) -> None:
    """Record that an unhealthy prebuild was removed from the pool. The caller holds the preset's row lock.

    The error is the pool's last one until a start succeeds: it says why a pool loses what it builds.
    """
    stored = connection.execute(select(m.Preset.recent_unhealthy).where(m.Preset.id == preset_id)).scalar_one()
    recent = with_instant(stored or (), now)
    connection.execute(
        update(m.Preset)
        .where(m.Preset.id == preset_id)
        .values(recent_unhealthy=recent, last_error=error[:ERROR_LENGTH])
    )


def failed_builds() -> ScalarSelect[int]:
    """Build the number of a workspace's failed builds, a subquery that correlates with `Workspace`."""
    counted = aliased(m.Build)
    return (
        select(func.count())
        .select_from(counted)
        .where(counted.workspace_id == m.Workspace.id, counted.status == BuildStatus.FAILED)
        .scalar_subquery()
    )
