"""What the tables' words mean in SQL, and how presets are named: shared by every read and write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Interval, and_, func, literal, literal_column, or_, select
from sqlalchemy.orm import aliased

from prebuild_tasks.core.model import (
    PREBUILDS_OWNER,
    BuildStatus,
    Transition,
)
from prebuild_tasks.core.names import parse_preset_ref
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage.types import UtcDateTime, age_seconds

PAUSED_KEY = "paused"
ROLLING = "rolling"
"""The strategy that replaces by and by."""

VERSION_OF_PRESET = (m.TemplateVersion, m.TemplateVersion.id == m.Preset.template_version_id)
TEMPLATE_OF_VERSION = (m.Template, m.Template.id == m.TemplateVersion.template_id)
"""For `.join(*…)`: every preset belongs to one version of one template."""


def said(word: str) -> ColumnElement[Any]:
    """A word of ours as it stands in the partial indexes. As a parameter of a prepared statement it could be any
    other, so that no plan that is kept could use those indexes, and every execution would be planned anew."""
    return literal_column(f"'{word}'")


IS_LIVE_PREBUILD = and_(m.Workspace.owner == said(PREBUILDS_OWNER), m.Workspace.deleted_at.is_(None))
IS_AWAITED = and_(
    m.Workspace.owner != said(PREBUILDS_OWNER), m.Workspace.deleted_at.is_(None), m.Workspace.claimed_at.is_(None)
)
"""It is being built for a person who waits for it, and nobody has it yet."""
IS_START = m.Workspace.transition == said(Transition.START)
IS_RUNNING = and_(IS_START, m.Workspace.status == said(BuildStatus.SUCCEEDED))
IS_READY = and_(IS_RUNNING, m.Workspace.ready_at.is_not(None))
IS_CLAIMABLE = and_(IS_LIVE_PREBUILD, IS_READY)
"""A prebuild that a claim can take, unless it has expired."""
IN_PROGRESS = m.Workspace.status.in_((said(BuildStatus.PENDING), said(BuildStatus.RUNNING)))
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
        _EARLIER.miss_reason != said(""),
        _EARLIER.id < m.ClaimEvent.id,
    )
    .correlate(m.ClaimEvent)
    .exists()
)
"""Whether the request of a claim event had missed when it was asked again: it is counted already, as one miss."""

USES_ACTIVE_VERSION: ColumnElement[bool] = func.coalesce(
    m.Template.active_version_id == m.TemplateVersion.id, literal(value=False)
)


def expired(now: datetime | ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether a workspace, joined with its preset, is expired at `now`: the core's rule in SQL."""
    return func.coalesce(
        or_(m.Workspace.created_at < m.Preset.last_invalidated_at, older_than(now, m.Preset.ttl_s)),
        literal(value=False),
    )


def fresh_since(now: ColumnElement[datetime]) -> ColumnElement[datetime]:
    """`expired` as the instant from which on a preset's workspaces have to be created: an index can be read from there
    on. PostgreSQL only."""
    ttl = func.nullif(m.Preset.ttl_s, literal_column("0")) * literal_column("interval '1 second'", Interval())
    return func.greatest(literal_column("'-infinity'::timestamptz"), m.Preset.last_invalidated_at, now - ttl)


def past_ttl(now: datetime | ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether a workspace, joined with its preset, is older than the TTL: no claim may take it any more."""
    return func.coalesce(older_than(now, m.Preset.ttl_s), literal(value=False))


def older_than(now: datetime | ColumnElement[datetime], seconds: ColumnElement[Any] | Any) -> ColumnElement[bool]:
    instant = literal(now, UtcDateTime()) if isinstance(now, datetime) else now
    return and_(m.Preset.ttl_s > 0, age_seconds(instant, m.Workspace.created_at) > seconds)


def installation_id(connection: Connection) -> str:
    """The id that marks this database's resources."""
    return connection.execute(select(m.Installation.id)).scalar_one()


def pause_holds(paused: Mapping[str, Any] | None, now: datetime) -> bool:
    """Whether a stored pause is in force: until its end, if it has one."""
    if not paused:
        return False
    until = paused.get("until")
    return until is None or now < datetime.fromisoformat(until)


def preset_ref(template: str, preset: str, version: str, *, active: bool) -> str:
    """`template/preset`, with `@version` unless the version is the active one."""
    return f"{template}/{preset}" if active else f"{template}/{preset}@{version}"


REF_COLUMNS = (
    m.Template.name.label("template_name"),
    m.Preset.name.label("preset_name"),
    m.TemplateVersion.name.label("version_name"),
    (m.Template.active_version_id == m.TemplateVersion.id).label("is_active"),
)


def ref_of(row: Any) -> str:
    """`template/preset[@version]` of a row with REF_COLUMNS."""
    return preset_ref(row.template_name, row.preset_name, row.version_name, active=bool(row.is_active))


def global_pause(connection: Connection) -> Mapping[str, Any] | None:
    """Who paused everything, why and until when; None while nothing is paused."""
    return connection.execute(select(m.Setting.value).where(m.Setting.key == PAUSED_KEY)).scalar_one_or_none()


def resolve_preset(connection: Connection, name: str) -> int:
    """The id behind an id or `template/preset[@version]`. Raises NotFoundError that names what there is."""
    if name.isdecimal():
        found = connection.execute(select(m.Preset.id).where(m.Preset.id == int(name))).scalar_one_or_none()
        if found is None:
            raise NotFoundError(f"there is no preset with the id {name}", hint="see: prebuild status")
        return found
    ref = parse_preset_ref(name)
    query = (
        select(m.Preset.id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Template.name == ref.template, m.Preset.name == ref.preset)
    )
    if ref.version:
        query = query.where(m.TemplateVersion.name == ref.version)
    else:
        query = query.where(m.Template.active_version_id == m.TemplateVersion.id, m.Preset.removed_at.is_(None))
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        known = sorted(preset_names(connection))
        hint = f"there are: {', '.join(known[:10])}" if known else "nothing is declared yet; run: prebuild apply FILE"
        raise NotFoundError(f"there is no preset {name}", hint=hint)
    return found


def pool_presets(connection: Connection, name: str) -> Sequence[int]:
    """Every preset of `template/preset`, over all versions and taken out of the file too, the active one last; with an
    id or `@version` that one alone.

    Raises NotFoundError that names what there is.
    """
    if name.isdecimal():
        return [resolve_preset(connection, name)]
    ref = parse_preset_ref(name)
    query = (
        select(m.Preset.id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Template.name == ref.template, m.Preset.name == ref.preset)
        .order_by(USES_ACTIVE_VERSION, m.Preset.id)
    )
    if ref.version:
        query = query.where(m.TemplateVersion.name == ref.version)
    return connection.execute(query).scalars().all() or [resolve_preset(connection, name)]


def preset_names(connection: Connection) -> Sequence[str]:
    """`template/preset` of every active preset."""
    query = (
        select(m.Template.name.label("template"), m.Preset.name)
        .select_from(m.Preset)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(IS_ACTIVE)
    )
    return [f"{row.template}/{row.name}" for row in connection.execute(query)]
