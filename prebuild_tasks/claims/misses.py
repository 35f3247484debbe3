"""The reason why a claim found no prebuild."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, func, literal, or_, select

from prebuild_tasks.claims.types import Pool
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.model.vocabulary import BuildStatus, MissReason
from prebuild_tasks.reconcile import is_expired_sql
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE, IS_LIVE_PREBUILD

_SENTENCES: Mapping[MissReason, str] = {
    MissReason.EMPTY_POOL: "the pool is empty and nothing is being built",
    MissReason.STARTING: "all are taken, and more are starting",
    MissReason.EXPIRED: "the remaining ones have expired and are being replaced",
    MissReason.INACTIVE: "the preset is no longer offered, and no prebuild of it is left",
    MissReason.NOT_DESIRED: "its desired size is 0 right now",
}
_WAIT = Remedy(RemedyKind.WAIT_FOR_WORKSPACE)
_REMEDIES: Mapping[MissReason, Remedy] = {
    MissReason.EMPTY_POOL: Remedy(RemedyKind.LIST_POOLS),
    MissReason.STARTING: _WAIT,
    MissReason.EXPIRED: _WAIT,
    MissReason.NOT_DESIRED: _WAIT,
}
_HINTS: Mapping[MissReason, str] = {MissReason.STARTING: "try again soon, or have one built"}


def miss(presets: str, reason: MissReason) -> ClaimMissError:
    """Make the error for a claim that found no prebuild of these presets."""
    return ClaimMissError(
        f"no prebuild of {presets} can be claimed: {_SENTENCES[reason]}",
        reason=reason.value,
        hint=_HINTS.get(reason, ""),
        remedy=_REMEDIES.get(reason),
    )


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
    if all(pool.deleted for pool in pools):
        return MissReason.INACTIVE
    if row.starting:
        return MissReason.STARTING
    if not any(pool.active for pool in pools):
        return MissReason.INACTIVE
    if row.expired:
        return MissReason.EXPIRED
    has_schedule = select(m.PresetSchedule.preset_id).where(m.PresetSchedule.preset_id.in_(ids))
    wanted = select(literal(1)).where(
        or_(select(m.Preset.id).where(m.Preset.id.in_(ids), m.Preset.desired > 0).exists(), has_schedule.exists())
    )
    return MissReason.EMPTY_POOL if connection.execute(wanted).first() else MissReason.NOT_DESIRED
