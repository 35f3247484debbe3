"""Read why a claim found no prebuild, and why none is being built."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from prebuild_tasks.claims.miss_rules import Outlook
from prebuild_tasks.claims.rows import PauseInForce, Pool
from prebuild_tasks.claims.rules import is_buildable, miss_reason_of, refusal_of, retry_after
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.model.vocabulary import BuildStatus, MissReason, Preset
from prebuild_tasks.reconcile import desired_now, is_expired_sql, next_change, read_declared
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE, IS_LIVE_PREBUILD
from prebuild_tasks.schema.lookup import preset_names
from prebuild_tasks.schema.pauses import StoredPause, global_pause, pause_holds
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
    declared = read_declared(connection, _is_one_of(pools))
    is_desired = any(desired_now(item.preset, now) for item in declared)
    return MissReason.EMPTY_POOL if is_desired else MissReason.NOT_DESIRED


def read_outlook(
    connection: Connection, pools: Sequence[Pool], reason: MissReason, now: datetime, *, waits: bool = False
) -> Outlook:
    """Read what becomes of a claim that missed for this reason. One that `waits` has a workspace built for itself."""
    seconds = _seconds_to_retry(connection, pools, reason, now)
    if reason is MissReason.STARTING:
        return Outlook(seconds=seconds, retryable=True)
    if reason is MissReason.INACTIVE:
        return Outlook(seconds=seconds, retryable=False, offered=_offered(connection, pools))
    everything = global_pause(connection)
    declared = {item.preset_id: item.preset for item in read_declared(connection, _is_one_of(pools))}
    begins = (_begins(pool, everything, declared[pool.id], now, waits=waits) for pool in pools if pool.id in declared)
    first = min(filter(None, begins), default=None)
    return Outlook(
        seconds=seconds,
        retryable=first is not None,
        change=first if first and first[0] > now else None,
        pause=_pause_in_force(pools, everything, now),
        refusal=refusal_of(pools),
    )


def _begins(
    pool: Pool, everything: StoredPause | None, preset: Preset, now: datetime, *, waits: bool
) -> tuple[datetime, int] | None:
    """Return when a pool is built, and how many prebuilds it should have then; None: not before somebody acts.

    The instant is `now` if nothing is in the way. For a claim that waits, one is built whatever is desired.
    """
    if not is_buildable(pool):
        return None
    begin = now
    for pause in (everything, pool.paused):
        if pause and pause_holds(pause, now):
            if not (until := pause.get("until")):
                return None
            begin = max(begin, datetime.fromisoformat(until))
    desired = desired_now(preset, begin)
    return (begin, desired) if desired or waits else next_change(preset, begin)


def _pause_in_force(pools: Sequence[Pool], everything: StoredPause | None, now: datetime) -> PauseInForce | None:
    """Return the pause because of which nothing is built for any of these pools; None if there is none.

    It has no end if somebody has to resume before one of them is built.
    """
    in_force = [PauseInForce(everything, "")] if everything and pause_holds(everything, now) else []
    buildable = [pool for pool in pools if is_buildable(pool)]
    pauses = [PauseInForce(pool.paused, str(pool.ref)) for pool in buildable if pool.paused]
    paused = [pause for pause in pauses if pause_holds(pause.stored, now)]
    if paused and len(paused) == len(buildable):
        in_force.append(min(paused, key=_is_endless))
    return max(in_force, key=_is_endless, default=None)


def _is_endless(pause: PauseInForce) -> bool:
    return pause.stored.get("until") is None


def _offered(connection: Connection, pools: Sequence[Pool]) -> PoolName | None:
    """Return the first of these pools that the active version of its template has a preset of."""
    offered = preset_names(connection, [or_(*(_is_named(pool.ref.pool) for pool in pools))])
    return next((pool.ref.pool for pool in pools if str(pool.ref.pool) in offered), None)


def _is_named(name: PoolName) -> ColumnElement[bool]:
    return and_(m.Template.name == name.template, m.Preset.name == name.preset)


def _is_one_of(pools: Sequence[Pool]) -> ColumnElement[bool]:
    return m.Preset.id.in_([pool.id for pool in pools])


def _seconds_to_retry(connection: Connection, pools: Sequence[Pool], reason: MissReason, now: datetime) -> int:
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
