"""SQL of `explain`: the builds, failed probes and activation of one pool. Each function sends one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, Select, and_, func, literal, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, aliased

from prebuild_tasks.access import Reach, sees_workspace_sql
from prebuild_tasks.builds import failed_builds, read_not_ready
from prebuild_tasks.db.types import age_seconds
from prebuild_tasks.insight.explain.facts import (
    Activation,
    BuildFact,
    Doubted,
    FailedDeletion,
    FailedProbe,
    under_way_of,
)
from prebuild_tasks.model.names import unambiguous_name
from prebuild_tasks.model.vocabulary import ACTIVE_STATUSES, OPEN_STATUSES, UNHEALTHY_REASON, BuildStatus, Transition
from prebuild_tasks.reconcile import retry_at
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE, IS_LIVE_PREBUILD, TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.workspaces import is_pool_start_sql

_SHOWN = 20
"""Rows of each kind: enough to name the cause."""
_SOON = timedelta(minutes=30)
"""The time after it was ready within which the loss of a prebuild casts doubt on its version."""
_IN_FLIGHT = 1000
"""Start builds in flight; more than are shown, because they are counted too."""


def read_activation(connection: Connection, preset_id: int, now: datetime) -> Activation:
    """Read why a preset is active or inactive."""
    active = aliased(m.TemplateVersion)
    row = connection.execute(
        select(
            m.Template.name,
            m.TemplateVersion.name.label("version"),
            active.name.label("active_version"),
            m.Template.deprecated,
            m.Template.deleted_at,
            m.Preset.removed_at,
            _last_good(preset_id, now).label("last_good"),
            _fails_soon(m.Preset.id, now).label("fails_soon"),
        )
        .join_from(m.Preset, *VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .join(active, active.id == m.Template.active_version_id, isouter=True)
        .where(m.Preset.id == preset_id)
    ).one()
    return Activation(
        template=row.name,
        version=row.version,
        active_version=row.active_version or "",
        deprecated=row.deprecated,
        template_deleted=row.deleted_at is not None,
        removed=row.removed_at is not None,
        last_good=row.last_good or "",
        fails_soon=row.fails_soon,
    )


def read_open_starts(connection: Connection, preset_id: int) -> tuple[BuildFact, ...]:
    """Read the start builds of a pool that are pending or running, oldest first."""
    query = _starts(preset_id).where(m.Build.status.in_(OPEN_STATUSES))
    return _facts(connection.execute(query.order_by(m.Build.created_at, m.Build.id).limit(_IN_FLIGHT)).all())


def read_under_way(connection: Connection) -> dict[int, BuildFact]:
    """Read the start that each pool waits for, by preset; a pool of which none runs is missing."""
    query = _starts().where(m.Build.status.in_(ACTIVE_STATUSES))
    in_flight: dict[int, list[BuildFact]] = {}
    rows = connection.execute(query.order_by(m.Build.created_at, m.Build.id)).all()
    for row, fact in zip(rows, _facts(rows), strict=True):
        in_flight.setdefault(row.preset_id, []).append(fact)
    return {key: build for key, builds in in_flight.items() if (build := under_way_of(builds)) is not None}


def read_failed(connection: Connection, preset_id: int) -> tuple[BuildFact, ...]:
    """Read the start builds of a pool that failed, newest first."""
    query = _starts(preset_id).where(m.Build.status == BuildStatus.FAILED)
    return _facts(connection.execute(query.order_by(m.Build.created_at.desc(), m.Build.id).limit(_SHOWN)).all())


def read_bound(connection: Connection, preset_id: int) -> set[str]:
    """Read the hosts that are the only ones able to run pending builds of a pool, whatever their transition."""
    query = select(m.Build.queue).where(m.Build.preset_id == preset_id, m.Build.status == BuildStatus.PENDING)
    return set(connection.execute(query.where(m.Build.queue != "").distinct()).scalars())


def read_prebuild_hosts(connection: Connection, preset_id: int) -> set[str]:
    """Read the hosts of a pool's prebuilds that can be claimed, without those that any host reaches."""
    query = select(m.Workspace.host).where(m.Workspace.preset_id == preset_id, IS_CLAIMABLE, m.Workspace.host != "")
    return set(connection.execute(query.distinct()).scalars())


def read_holding(connection: Connection, organization_id: int, reach: Reach) -> tuple[str, ...]:
    """Read the workspaces of an organization that failed, or could not be deleted, and hold a place of its quota.

    Only those within reach are named.
    """
    rows = connection.execute(
        select(m.Workspace.owner, m.Workspace.name)
        .where(
            m.Workspace.organization_id == organization_id,
            m.Workspace.deleted_at.is_(None),
            m.Workspace.status == BuildStatus.FAILED,
            or_(m.Workspace.transition == Transition.DELETE, IS_LIVE_PREBUILD),
            *sees_workspace_sql(reach),
        )
        .order_by(m.Workspace.created_at, m.Workspace.id)
        .limit(_SHOWN)
    )
    return tuple(unambiguous_name(row.owner, row.name) for row in rows)


def read_usual(connection: Connection, preset_id: int) -> timedelta | None:
    """Read the median duration of the last start builds that succeeded; None when none did."""
    query = _starts(preset_id).where(
        m.Build.status == BuildStatus.SUCCEEDED, m.Build.started_at.is_not(None), m.Build.completed_at.is_not(None)
    )
    rows = connection.execute(query.order_by(m.Build.created_at.desc()).limit(_SHOWN)).all()
    durations = [(row.completed_at - row.started_at).total_seconds() for row in rows]
    return timedelta(seconds=median(durations)) if durations else None


def read_failed_probes(connection: Connection, preset_id: int) -> tuple[FailedProbe, ...]:
    """Read the prebuilds of a pool whose last probe failed."""
    rows = connection.execute(
        select(m.Workspace.name, m.ProbeState.failures, m.ProbeState.message)
        .join(m.ProbeState, m.ProbeState.workspace_id == m.Workspace.id)
        .where(m.Workspace.preset_id == preset_id, IS_LIVE_PREBUILD, m.ProbeState.failures > 0)
        .order_by(m.ProbeState.failures.desc(), m.Workspace.name)
        .limit(_SHOWN)
    )
    return tuple(FailedProbe(row.name, row.failures, row.message) for row in rows)


def read_doubted(connection: Connection, preset_id: int) -> Doubted:
    """Count the prebuilds of a pool that are in doubt, and read whether their provisioner's lists can be read."""
    probe, unread = m.ProbeState, m.UnansweredList
    is_unanswered = probe.unanswered_since.is_not(None)
    is_gone = and_(probe.gone_since.is_not(None), probe.missing_since.is_(None), probe.condemned_at.is_(None))
    lists = (
        select(func.min(unread.since).label("since"), func.min(unread.message).label("unread"))
        .join(m.TemplateVersion, m.TemplateVersion.provisioner == unread.provisioner)
        .join(m.Preset, m.Preset.template_version_id == m.TemplateVersion.id)
        .where(m.Preset.id == preset_id)
        .subquery()
    )
    counted = (
        select(
            func.count().filter(is_unanswered).label("unanswered"),
            func.min(probe.unanswered_since).label("unanswered_since"),
            func.min(probe.message).filter(is_unanswered).label("message"),
            func.count().filter(probe.missing_since.is_not(None)).label("missing"),
            func.count().filter(is_gone).label("gone"),
            func.count().filter(probe.condemned_at.is_not(None)).label("lost"),
            func.count().filter(probe.waiting).label("waiting"),
        )
        .select_from(m.Workspace)
        .join(probe, probe.workspace_id == m.Workspace.id)
        .where(m.Workspace.preset_id == preset_id, IS_CLAIMABLE)
        .subquery()
    )
    row = connection.execute(select(*counted.c, *lists.c).select_from(counted.join(lists, true()))).one()
    return Doubted(
        unanswered=row.unanswered,
        unanswered_since=row.unanswered_since,
        message=row.message or "",
        missing=row.missing,
        gone=row.gone,
        lost=row.lost,
        waiting=row.waiting,
        unread_since=row.since,
        unread=row.unread or "",
    )


def read_failed_deletions(connection: Connection, preset_id: int, reach: Reach) -> tuple[FailedDeletion, ...]:
    """Read the workspaces of a pool, within reach, whose deletion failed, released ones included."""
    rows = connection.execute(
        select(
            m.Workspace.owner,
            m.Workspace.name,
            m.Build.id,
            m.Build.error,
            m.Build.completed_at,
            failed_builds().label("failures"),
        )
        .join(m.Build, (m.Build.workspace_id == m.Workspace.id) & (m.Build.number == m.Workspace.build_number))
        .where(
            m.Workspace.preset_id == preset_id,
            m.Workspace.deleted_at.is_(None),
            m.Workspace.transition == Transition.DELETE,
            m.Workspace.status == BuildStatus.FAILED,
            *sees_workspace_sql(reach),
        )
        .order_by(m.Build.completed_at.desc(), m.Workspace.name)
        .limit(_SHOWN)
    )
    return tuple(
        FailedDeletion(
            unambiguous_name(row.owner, row.name),
            row.id,
            row.error,
            row.completed_at and retry_at(row.failures, row.completed_at),
        )
        for row in rows
    )


def _last_good(preset_id: int, now: datetime) -> ScalarSelect[str]:
    """Select the other version of a pool that was ready last and holds; none if this one was ever ready and holds."""
    this, other = aliased(m.Preset), aliased(m.Preset)
    its_version, version = aliased(m.TemplateVersion), aliased(m.TemplateVersion)
    own = aliased(m.Workspace)
    was_ready = select(own.id).where(own.preset_id == this.id, own.ready_at.is_not(None))
    return (
        select(version.name)
        .select_from(this)
        .join(its_version, its_version.id == this.template_version_id)
        .join(version, version.template_id == its_version.template_id)
        .join(other, (other.template_version_id == version.id) & (other.name == this.name) & (other.id != this.id))
        .join(m.Workspace, (m.Workspace.preset_id == other.id) & m.Workspace.ready_at.is_not(None))
        .where(this.id == preset_id, or_(~was_ready.exists(), _fails_soon(this.id, now)), ~_fails_soon(other.id, now))
        .group_by(version.name)
        .order_by(func.max(m.Workspace.ready_at).desc(), version.name)
        .limit(1)
        .correlate(None)
        .scalar_subquery()
    )


def _fails_soon(preset_id: ColumnElement[int] | InstrumentedAttribute[int], now: datetime) -> ColumnElement[bool]:
    """Whether a version's prebuilds become unhealthy soon after they were ready: it may never have worked.

    One that was lost soon tells nothing about a version of which another was there for longer.
    """
    lost, lasting, loss = aliased(m.Workspace), aliased(m.Workspace), aliased(m.Build)
    soon = _SOON.total_seconds()

    def lost_soon(workspace: type[m.Workspace]) -> Select[str]:
        return select(loss.id).where(
            loss.workspace_id == workspace.id,
            loss.preset_id == workspace.preset_id,
            loss.transition == Transition.DELETE,
            loss.reason == UNHEALTHY_REASON,
            age_seconds(loss.created_at, workspace.ready_at) < soon,
        )

    # Nobody notices what happens to a workspace once it is claimed.
    end = func.coalesce(lasting.claimed_at, lasting.deleted_at, literal(now, m.Workspace.ready_at.type))
    any_lost = select(lost.id).where(lost.preset_id == preset_id, lost_soon(lost).exists())
    any_lasted = select(lasting.id).where(
        lasting.preset_id == preset_id, age_seconds(end, lasting.ready_at) >= soon, ~lost_soon(lasting).exists()
    )
    return and_(any_lost.exists(), ~any_lasted.exists())


def _starts(*preset_ids: int) -> Select[*tuple[Any, ...]]:
    """Select the start builds of these pools, or of all, without those that only personalise a claimed workspace."""
    timeout = select(m.Preset.ready_timeout_s).where(m.Preset.id == m.Build.preset_id).scalar_subquery()
    query = select(
        m.Build.preset_id,
        m.Build.id,
        m.Build.created_at,
        m.Build.started_at,
        m.Build.completed_at,
        m.Build.status,
        (m.Build.attempt - m.Build.holds).label("attempt"),
        m.Build.error,
        m.Build.error_code,
        timeout.label("ready_timeout_s"),
    ).where(is_pool_start_sql())
    return query.where(m.Build.preset_id.in_(preset_ids)) if preset_ids else query


def _facts(rows: Sequence[Row[*tuple[Any, ...]]]) -> tuple[BuildFact, ...]:
    return tuple(
        BuildFact(
            id=row.id,
            created_at=row.created_at,
            # A lost attempt puts the build back to pending: it waits again, although it was started before.
            started_at=None if row.status is BuildStatus.PENDING else row.started_at,
            attempt=row.attempt,
            error=row.error,
            error_code=row.error_code,
            not_ready=read_not_ready(row.error_code, row.error) if row.status in ACTIVE_STATUSES else None,
            ready_timeout=timedelta(seconds=row.ready_timeout_s),
        )
        for row in rows
    )
