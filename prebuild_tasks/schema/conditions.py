"""What the tables' words mean in SQL, and how presets are named: shared by every read and write."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, literal, literal_column, or_, select
from sqlalchemy.orm import aliased

from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, BuildStatus, Transition
from prebuild_tasks.schema import tables as m

ROLLING = "rolling"
"""The strategy that replaces by and by."""

VERSION_OF_PRESET = (m.TemplateVersion, m.TemplateVersion.id == m.Preset.template_version_id)
TEMPLATE_OF_VERSION = (m.Template, m.Template.id == m.TemplateVersion.template_id)
"""For `.join(*…)`: every preset belongs to one version of one template."""


def constant(word: str) -> ColumnElement[Any]:
    """A word of ours as it stands in the partial indexes. As a parameter of a prepared statement it could be any
    other, so that no plan that is kept could use those indexes, and every execution would be planned anew."""
    return literal_column(f"'{word}'")


IS_LIVE_PREBUILD = and_(m.Workspace.owner == constant(PREBUILDS_OWNER), m.Workspace.deleted_at.is_(None))
IS_AWAITED = and_(
    m.Workspace.owner != constant(PREBUILDS_OWNER),
    m.Workspace.deleted_at.is_(None),
    m.Workspace.claimed_at.is_(None),
)
"""It is being built for a person who waits for it, and nobody has it yet."""
IS_START = m.Workspace.transition == constant(Transition.START)
IS_RUNNING = and_(IS_START, m.Workspace.status == constant(BuildStatus.SUCCEEDED))
IS_READY = and_(IS_RUNNING, m.Workspace.ready_at.is_not(None))
IS_CLAIMABLE = and_(IS_LIVE_PREBUILD, IS_READY)
"""A prebuild that a claim can take, unless it has expired."""
IN_PROGRESS = m.Workspace.status.in_((constant(BuildStatus.PENDING), constant(BuildStatus.RUNNING)))
IS_ACTIVE = and_(
    m.Template.active_version_id == m.TemplateVersion.id,
    m.Template.deleted_at.is_(None),
    m.Template.deprecated.is_(False),
    m.Preset.removed_at.is_(None),
)

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
"""Whether the request of a claim event had missed when it was asked again: it is counted already, as one miss."""

USES_ACTIVE_VERSION: ColumnElement[bool] = func.coalesce(
    m.Template.active_version_id == m.TemplateVersion.id, literal(value=False)
)


def is_due_sql(now: datetime) -> ColumnElement[bool]:
    """Build the condition that a pending build may be taken at `now`: it waits for no time, or its time has come."""
    return or_(m.Build.next_attempt_at.is_(None), m.Build.next_attempt_at <= now)


def installation_id(connection: Connection) -> str:
    """The id that marks this database's resources."""
    return connection.execute(select(m.Installation.id)).scalar_one()
