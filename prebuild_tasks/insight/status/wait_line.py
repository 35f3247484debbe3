"""The people who wait for a workspace that is being built for them: their place, and when it can be expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, ScalarSelect, and_, func, or_, select
from sqlalchemy.orm import aliased

from prebuild_tasks.access import Reach, sees_workspace_sql
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.report.store import Percentiles
from prebuild_tasks.insight.status.pages import CreatedKey
from prebuild_tasks.insight.status.problems import read_usual_times
from prebuild_tasks.insight.status.rules import waiting_for
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.workspaces import is_awaited_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitView:
    """One person who waits for a workspace."""

    owner: str
    workspace: str
    id: str
    """Of the workspace."""
    preset: PoolName
    build: str
    """The id of the build that makes the workspace."""
    status: BuildStatus
    """Of that build."""
    since: datetime
    """When the build was requested."""
    place: int
    """Its place among the builds of its queue that have not begun, from 1; 0: it has begun."""
    expected_at: datetime | None
    """When half of the pool's starts were ready, counted from the request; None: none ever was."""
    late_after: datetime | None
    """When 95 of 100 of them were."""
    is_late: bool
    """Whether `late_after` has passed."""
    waits: str
    """What the build waits for; empty: nothing, or not for long."""
    created_at: datetime
    """When the workspace was created, by which the list is sorted."""


def list_waiting(database: Database, reach: Reach, after: CreatedKey | None, limit: int) -> list[WaitView]:
    """List who waits for a workspace that is being built or ready, in the order of its creation.

    The number of statements is fixed. A wait that failed, or whose workspace is being deleted, is not listed.
    """
    table = m.Workspace
    query = (
        select(
            table.id, table.name, table.owner, table.created_at, table.preset_id, m.Build.id.label("build"),
            m.Build.status, m.Build.created_at.label("since"), m.Build.error, m.Build.error_code,
            m.Preset.ready_timeout_s, m.Preset.name.label("preset_name"), m.Template.id.label("template_id"),
            m.Template.name.label("template_name"), _before().label("before"),
        )
        .join(m.Build, and_(m.Build.workspace_id == table.id, m.Build.number == table.build_number))
        .join(m.Preset, m.Preset.id == table.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(
            is_awaited_sql(),
            table.transition == Transition.START,
            m.Build.status.in_((BuildStatus.PENDING, BuildStatus.RUNNING, BuildStatus.SUCCEEDED)),
            *sees_workspace_sql(reach),
        )
        .order_by(table.created_at, table.id)
        .limit(limit)
    )  # fmt: skip
    if after:
        same = and_(table.created_at == after.created_at, table.id > after.id)
        query = query.where(or_(table.created_at > after.created_at, same))
    with database.read() as connection:
        now, rows = database.now(connection), connection.execute(query).all()
        pools = {(row.template_id, PoolName(row.template_name, row.preset_name)) for row in rows}
        usual = read_usual_times(connection, now, [row.preset_id for row in rows], pools) if rows else {}
    return [_view(row, usual, now) for row in rows]


def _before() -> ScalarSelect[int]:
    """Count the builds of the same queue that workers take before this one."""
    other = aliased(m.Build)
    earlier = or_(
        other.priority < m.Build.priority,
        and_(other.priority == m.Build.priority, other.created_at < m.Build.created_at),
    )
    query = select(func.count()).where(other.status == BuildStatus.PENDING, other.queue == m.Build.queue, earlier)
    return query.correlate(m.Build).scalar_subquery()


def _view(row: Row[*tuple[Any, ...]], usual: Mapping[tuple[int, str], Percentiles], now: datetime) -> WaitView:
    times = usual.get((row.template_id, row.preset_name))
    late_after = row.since + timedelta(seconds=times.p95) if times else None
    return WaitView(
        owner=row.owner,
        workspace=row.name,
        id=row.id,
        preset=PoolName(row.template_name, row.preset_name),
        build=row.build,
        status=row.status,
        since=row.since,
        place=row.before + 1 if row.status is BuildStatus.PENDING else 0,
        expected_at=row.since + timedelta(seconds=times.p50) if times else None,
        late_after=late_after,
        is_late=late_after is not None and late_after < now,
        waits=waiting_for(row.status, row.error_code, row.error, row.ready_timeout_s, now),
        created_at=row.created_at,
    )
