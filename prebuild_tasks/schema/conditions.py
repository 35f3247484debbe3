"""Conditions and joins in SQL that all packages share."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, literal, literal_column, or_, select
from sqlalchemy.orm import aliased

from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.model.vocabulary import (
    FINAL_STATUSES,
    LOCAL_PRINCIPAL,
    PREBUILDS_OWNER,
    BuildStatus,
    RequestState,
    Transition,
)
from prebuild_tasks.schema import tables as m

ROLLING = "rolling"
"""The strategy that replaces prebuilds gradually."""

VERSION_OF_PRESET = (m.TemplateVersion, m.TemplateVersion.id == m.Preset.template_version_id)
TEMPLATE_OF_VERSION = (m.Template, m.Template.id == m.TemplateVersion.template_id)
"""Arguments for `.join(*…)`: a preset belongs to one version, and a version to one template."""


def constant(word: str) -> ColumnElement[Any]:
    """Write a constant into a statement, as it stands in the conditions of the partial indexes.

    As a parameter of a prepared statement it could have any value: no cached plan could use those indexes, and every
    execution would be planned again.
    """
    return literal_column(f"'{word}'")


IS_LIVE_PREBUILD = and_(m.Workspace.owner == constant(PREBUILDS_OWNER), m.Workspace.deleted_at.is_(None))
IS_START = m.Workspace.transition == constant(Transition.START)
IS_RUNNING = and_(IS_START, m.Workspace.status == constant(BuildStatus.SUCCEEDED))
IS_READY = and_(IS_RUNNING, m.Workspace.ready_at.is_not(None))
IS_CLAIMABLE = and_(IS_LIVE_PREBUILD, IS_READY)
"""The workspace is a prebuild that can be claimed, unless it has expired."""
IS_USED = and_(
    m.Workspace.owner != constant(PREBUILDS_OWNER),
    m.Workspace.deleted_at.is_(None),
    m.Workspace.claimed_at.is_not(None),
    IS_READY,
)
"""The workspace is claimed, and its owner can use it."""
IS_HELD = and_(m.Build.status == constant(BuildStatus.PENDING), m.Build.error_code == constant(CannotAskError.code))
"""The build waits until its provisioner can be asked again."""
IS_KEPT = and_(
    IS_LIVE_PREBUILD,
    or_(
        IS_START & m.Workspace.status.in_((BuildStatus.FAILED, BuildStatus.CANCELED)),
        (m.Workspace.transition == Transition.STOP) & m.Workspace.status.in_(FINAL_STATUSES),
    ),
)
"""The workspace is a failed, stopped or canceled prebuild, which is kept for diagnosis."""
IN_PROGRESS = m.Workspace.status.in_((constant(BuildStatus.PENDING), constant(BuildStatus.RUNNING)))

IS_UNCOLLECTED = and_(
    m.BoundRequest.kind == constant(RequestState.RESERVED), m.BoundRequest.principal != constant(LOCAL_PRINCIPAL)
)
"""The request's workspace is handed over once its principal asks for it again. A local one's is as soon as it is
ready."""

_EARLIER = aliased(m.ClaimEvent)
MISSED_BEFORE = (
    select(_EARLIER.id)
    .where(
        _EARLIER.request_id == m.ClaimEvent.request_id,
        _EARLIER.miss_reason != constant(""),
        _EARLIER.id < m.ClaimEvent.id,
    )
    .correlate(m.ClaimEvent)
    .exists()
)
"""The request of a claim event has missed before: the repeated request is already counted as one miss."""

USES_ACTIVE_VERSION: ColumnElement[bool] = func.coalesce(
    m.Template.active_version_id == m.TemplateVersion.id, literal(value=False)
)


def is_active_sql() -> ColumnElement[bool]:
    """Build the condition of `is_active` on a preset with its version and template."""
    return and_(
        m.Template.active_version_id == m.TemplateVersion.id,
        m.Template.deleted_at.is_(None),
        m.Template.deprecated.is_(False),
        m.Preset.removed_at.is_(None),
    )


def is_due_sql(now: datetime) -> ColumnElement[bool]:
    """Build the condition that a pending build may be taken at `now`: its next attempt has no time, or is due."""
    return or_(m.Build.next_attempt_at.is_(None), m.Build.next_attempt_at <= now)


def installation_id(connection: Connection) -> str:
    """Read the id that marks the resources of this database."""
    return connection.execute(select(m.Installation.id)).scalar_one()
