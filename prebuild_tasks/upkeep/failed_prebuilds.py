"""Failed prebuilds, which are kept for diagnosis until they are too many or too old, or their place is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, func, or_, select

from prebuild_tasks.config import Settings
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import (
    IN_PROGRESS,
    IS_KEPT,
    IS_LIVE_PREBUILD,
    IS_RUNNING,
    IS_START,
    TEMPLATE_OF_VERSION,
    VERSION_OF_PRESET,
    is_active_sql,
)
from prebuild_tasks.schema.pauses import global_pause, pause_holds
from prebuild_tasks.upkeep.rules import place_wanted

BATCH = 500
"""The most workspaces that are taken at a time."""


def spent_prebuilds(connection: Connection, settings: Settings, now: datetime) -> Sequence[str]:
    """Read the failed, stopped and canceled prebuilds that are no longer kept.

    They are beyond `failed_keep`, or older than `failed_keep_for`, or hold a place of their organization's quota that
    its pools want.
    """
    rank = func.row_number().over(
        partition_by=m.Workspace.preset_id, order_by=(m.Workspace.created_at.desc(), m.Workspace.id)
    )
    candidates = select(m.Workspace.id, m.Workspace.created_at, rank.label("rank")).where(IS_KEPT).subquery()
    oldest = now - timedelta(seconds=settings.failed_keep_for)
    is_spent = or_(candidates.c.rank > settings.failed_keep, candidates.c.created_at < oldest)
    spent = connection.execute(select(candidates.c.id).where(is_spent).limit(BATCH)).scalars().all()
    return list(dict.fromkeys([*spent, *_in_the_way(connection, now)]))[:BATCH]


def _in_the_way(connection: Connection, now: datetime) -> list[str]:
    """Read as many kept prebuilds as places are wanted in each organization whose quota is full, oldest first.

    While everything is paused, nothing is wanted.
    """
    if pause_holds(global_pause(connection), now):
        return []
    existing = func.count(m.Workspace.id)
    full = connection.execute(
        select(m.Organization.id)
        .join(m.Workspace, and_(m.Workspace.organization_id == m.Organization.id, m.Workspace.deleted_at.is_(None)))
        .where(m.Organization.max_workspaces.is_not(None))
        .group_by(m.Organization.id)
        .having(existing >= m.Organization.max_workspaces, func.count().filter(IS_KEPT) > 0)
    )
    in_the_way: list[str] = []
    for organization_id in full.scalars().all():
        if wanted := _wanted(connection, organization_id, now):
            query = select(m.Workspace.id).where(m.Workspace.organization_id == organization_id, IS_KEPT)
            query = query.order_by(m.Workspace.created_at, m.Workspace.id).limit(min(wanted, BATCH))
            in_the_way += connection.execute(query).scalars()
    return in_the_way


def _wanted(connection: Connection, organization_id: int, now: datetime) -> int:
    """Return how many prebuilds the active pools of an organization may lack.

    Those that build nothing, such as paused ones, lack none. A scheduled size counts as if it were in force. What is
    already being deleted will free a place by itself.
    """
    live = (
        select(func.count())
        .select_from(m.Workspace)
        .where(m.Workspace.preset_id == m.Preset.id, IS_LIVE_PREBUILD, or_(IS_RUNNING, and_(IS_START, IN_PROGRESS)))
        .correlate(m.Preset)
        .scalar_subquery()
    )
    scheduled = (
        select(func.max(m.PresetSchedule.desired))
        .where(m.PresetSchedule.preset_id == m.Preset.id)
        .correlate(m.Preset)
        .scalar_subquery()
    )
    pools = connection.execute(
        select(m.Preset.desired, m.Preset.paused, scheduled.label("scheduled"), live.label("live"))
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Template.organization_id == organization_id, is_active_sql(), m.Preset.status == PresetStatus.HEALTHY)
    ).all()
    leaving = select(func.count()).where(
        m.Workspace.organization_id == organization_id,
        m.Workspace.deleted_at.is_(None),
        m.Workspace.transition == Transition.DELETE,
        m.Workspace.status != BuildStatus.FAILED,
    )
    building = [row for row in pools if not pause_holds(row.paused, now)]
    sizes = [(max(row.desired, row.scheduled or 0), row.live) for row in building]
    return place_wanted(sizes, connection.execute(leaving).scalar_one())
