"""Read why a claim found no prebuild, and why none is being built."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from prebuild_tasks.claims.rules import miss_reason_of
from prebuild_tasks.claims.types import PauseInForce, Pool
from prebuild_tasks.model.vocabulary import BuildStatus, MissReason
from prebuild_tasks.reconcile import desired_now, is_expired_sql, read_declared
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE, IS_LIVE_PREBUILD
from prebuild_tasks.schema.pauses import global_pause, pause_holds


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
