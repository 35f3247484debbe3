"""Read why a claim found no prebuild, and why none is being built."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from prebuild_tasks.claims.rows import PauseInForce, Pool
from prebuild_tasks.claims.rules import miss_reason_of, retry_after
from prebuild_tasks.model.vocabulary import BuildStatus, MissReason
from prebuild_tasks.reconcile import desired_now, is_expired_sql, next_change, read_declared
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE, IS_LIVE_PREBUILD
from prebuild_tasks.schema.pauses import global_pause, pause_holds
from prebuild_tasks.workspaces import is_pool_start_sql

_MEASURED = 20
"""The most recent starts of the pools, by which the time of the next one is judged."""


def miss_reason(connection: Connection, pools: Sequence[Pool], now: datetime) -> MissReason:
    """Return the most helpful reason: prebuilds that are starting come before those that have expired."""
    ids = [pool.id for pool in pools]
    row = connection.execute(
        select(
            func.count().filter(m.Workspace.status.in_((BuildStatus.PENDING, BuildStatus.RUNNING))).label("starting"),
            func.count().filter(IS_CLAIMABLE, is_expired_sql(now)).label("expired"),
        )
        .select_from(m.Workspace)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(m.Workspace.preset_id.in_(ids), IS_LIVE_PREBUILD, m.Workspace.transition == "start")
    ).one()
    if reason := miss_reason_of(pools, starting=row.starting, expired=row.expired):
        return reason
    declared = read_declared(connection, m.Preset.id.in_(ids))
    is_desired = any(desired_now(item.preset, now) for item in declared)
    return MissReason.EMPTY_POOL if is_desired else MissReason.NOT_DESIRED


def pause_in_force(connection: Connection, pools: Sequence[Pool], now: datetime) -> PauseInForce | None:
    """Return the pause because of which nothing is built for any of these pools; None if there is none."""
    everything = global_pause(connection)
    if everything and pause_holds(everything, now):
        return PauseInForce(everything, "")
    first = pools[0]
    if first.paused and all(pause_holds(pool.paused, now) for pool in pools):
        return PauseInForce(first.paused, str(first.ref))
    return None


def seconds_to_retry(connection: Connection, pools: Sequence[Pool], reason: MissReason, now: datetime) -> int:
    """Return the seconds after which a claim that missed for this reason may succeed. Two statements if one starts."""
    if reason is not MissReason.STARTING:
        return retry_after((), 0, on_the_way=False)
    starts = (m.Build.preset_id.in_([pool.id for pool in pools]), is_pool_start_sql())
    began = connection.execute(
        select(func.min(m.Build.created_at))
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .where(*starts, m.Build.status.in_((BuildStatus.PENDING, BuildStatus.RUNNING)), IS_LIVE_PREBUILD)
    ).scalar_one()
    done = connection.execute(
        select(m.Build.created_at, m.Build.completed_at)
        .where(*starts, m.Build.status == BuildStatus.SUCCEEDED, m.Build.completed_at.is_not(None))
        .order_by(m.Build.created_at.desc())
        .limit(_MEASURED)
    )
    measured = [(row.completed_at - row.created_at).total_seconds() for row in done]
    elapsed = (now - began).total_seconds() if began else 0.0
    return retry_after(measured, elapsed, on_the_way=began is not None)


def next_desired(
    connection: Connection, pools: Sequence[Pool], reason: MissReason, now: datetime
) -> tuple[datetime, int] | None:
    """Return when and to what a schedule changes one of the pools next; None: no change would end the miss."""
    if reason is not MissReason.NOT_DESIRED:
        return None
    declared = read_declared(connection, m.Preset.id.in_([pool.id for pool in pools]))
    return min(filter(None, (next_change(item.preset, now) for item in declared)), default=None)
