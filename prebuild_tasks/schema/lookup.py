"""Find presets and workspaces by the names that people use, and list these names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, false, select

from prebuild_tasks.errors import NotFoundError, RefusedError
from prebuild_tasks.model.names import PoolName, PresetRef, WorkspaceName, as_id
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, Transition
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, USES_ACTIVE_VERSION, VERSION_OF_PRESET, is_active_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundWorkspace:
    """The columns of a workspace that are needed to end or extend it.

    The fields have the names of the table's columns.
    """

    id: str
    name: str
    owner: str
    preset_id: int
    transition: Transition
    claimed_until: datetime | None


_FOUND_COLUMNS = [m.Workspace.__table__.c[field.name] for field in fields(FoundWorkspace)]


def find_workspace(connection: Connection, name: str, *conditions: ColumnElement[bool]) -> FoundWorkspace:
    """Find a workspace by id, `owner/name` or name, among those that meet further conditions.

    Raises NotFoundError, or RefusedError if several match.
    """
    exists = m.Workspace.deleted_at.is_(None)
    query = select(*_FOUND_COLUMNS).where(exists, *conditions).order_by(m.Workspace.owner, m.Workspace.id)
    identity = as_id(name)
    query = query.where(m.Workspace.id == identity) if identity else query.where(*is_named(name))
    rows = [FoundWorkspace(**row) for row in connection.execute(query).mappings()]
    if not rows:
        raise NotFoundError(f"there is no workspace {name}", remedy=Remedy(RemedyKind.LIST_WORKSPACES))
    if len(rows) > 1:
        several = ", ".join(f"{row.owner}/{row.name}" for row in rows)
        raise RefusedError(f"{name} matches several workspaces", hint=f"name one of them: {several}")
    return rows[0]


def has_id(text: str) -> ColumnElement[bool]:
    """Build the condition that a workspace has this id, which nothing fulfils if the text is not one."""
    identity = as_id(text)
    return m.Workspace.id == identity if identity else false()


def host_of(connection: Connection, workspace_id: str) -> str:
    """Read the only host that can reach a workspace's resources; empty: any host."""
    query = select(m.Workspace.host).where(m.Workspace.id == workspace_id)
    return connection.execute(query).scalar_one_or_none() or ""


def is_named(name: str) -> list[ColumnElement[bool]]:
    """Build the conditions that a workspace is named `owner/name`, or `name` whoever owns it."""
    wanted = WorkspaceName.parse(name)
    return [m.Workspace.name == wanted.name, *([m.Workspace.owner == wanted.owner] if wanted.owner else [])]


REF_COLUMNS = (
    m.Template.name.label("template_name"),
    m.Preset.name.label("preset_name"),
    m.TemplateVersion.name.label("version_name"),
    (m.Template.active_version_id == m.TemplateVersion.id).label("is_active"),
)
"""The columns that `PresetRef.of` takes."""


def resolve_preset(connection: Connection, name: str, within: Sequence[ColumnElement[bool]] = ()) -> int:
    """Find a preset's id by id or `template/preset[@version]`.

    A preset that does not fulfil the conditions `within` does not exist. Raises InputError for a name of another form,
    and NotFoundError, which for a name lists up to ten active presets.
    """
    if name.isdecimal():
        by_id = select(m.Preset.id).where(m.Preset.id == int(name), *within)
        preset_id = connection.execute(by_id).scalar_one_or_none()
        if preset_id is None:
            raise NotFoundError(f"there is no preset with the id {name}", remedy=Remedy(RemedyKind.LIST_POOLS))
        return preset_id
    ref = PresetRef.parse(name)
    query = (
        select(m.Preset.id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Template.name == ref.template, m.Preset.name == ref.preset, *within)
    )
    if ref.version:
        query = query.where(m.TemplateVersion.name == ref.version)
    else:
        query = query.where(m.Template.active_version_id == m.TemplateVersion.id, m.Preset.removed_at.is_(None))
    preset_id = connection.execute(query).scalar_one_or_none()
    if preset_id is None:
        known = sorted(preset_names(connection, within))
        if known:
            listed = f"{', '.join(known[:10])}{', …' if len(known) > 10 else ''}"
            raise NotFoundError(f"there is no preset {name}", hint=f"active presets: {listed}")
        apply = Remedy(RemedyKind.APPLY_POOLS_FILE)
        raise NotFoundError(f"there is no preset {name}", hint="no preset is active; apply a pools file", remedy=apply)
    return preset_id


def pool_presets(connection: Connection, name: str, within: Sequence[ColumnElement[bool]] = ()) -> Sequence[int]:
    """Find the ids of a pool's presets, with the active version's last.

    They are the presets of all versions, including versions that are no longer declared. For an id or a name with
    `@version`, only that preset is returned. A preset that does not fulfil the conditions `within` does not exist.

    Raises InputError for a name of another form, and NotFoundError, which for a name lists up to ten active presets.
    """
    if name.isdecimal():
        return [resolve_preset(connection, name, within)]
    ref = PresetRef.parse(name)
    query = (
        select(m.Preset.id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Template.name == ref.template, m.Preset.name == ref.preset, *within)
        .order_by(USES_ACTIVE_VERSION, m.Preset.id)
    )
    if ref.version:
        query = query.where(m.TemplateVersion.name == ref.version)
    return connection.execute(query).scalars().all() or [resolve_preset(connection, name, within)]


def preset_names(connection: Connection, within: Sequence[ColumnElement[bool]] = ()) -> Sequence[str]:
    """List the names `template/preset` of the active presets that fulfil the conditions `within`."""
    query = (
        select(m.Template.name.label("template"), m.Preset.name)
        .select_from(m.Preset)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(is_active_sql(), *within)
    )
    return [str(PoolName(row.template, row.name)) for row in connection.execute(query)]


def template_names(connection: Connection, prefix: str, limit: int) -> Sequence[str]:
    """List the names of templates that start with a prefix, at most `limit`."""
    matches = m.Template.name.startswith(prefix, autoescape=True)
    query = select(m.Template.name).where(m.Template.deleted_at.is_(None), matches)
    return connection.execute(query.order_by(m.Template.name).limit(limit)).scalars().all()


def token_names(connection: Connection, prefix: str, limit: int) -> Sequence[str]:
    """List the names, starting with a prefix, of tokens that were not revoked, at most `limit`."""
    matches = m.Token.name.startswith(prefix, autoescape=True)
    query = select(m.Token.name).where(m.Token.revoked_at.is_(None), matches)
    return connection.execute(query.distinct().order_by(m.Token.name).limit(limit)).scalars().all()


def webhook_names(connection: Connection, prefix: str, limit: int) -> Sequence[str]:
    """List the names of webhooks that start with a prefix, at most `limit`."""
    query = select(m.Webhook.name).where(m.Webhook.name.startswith(prefix, autoescape=True))
    return connection.execute(query.order_by(m.Webhook.name).limit(limit)).scalars().all()


def workspace_names(connection: Connection, prefix: str, limit: int, *, claimed: bool) -> Sequence[str]:
    """List the names of workspaces that are not deleted and start with a prefix, at most `limit`.

    Claimed ones come first; with `claimed`, only they are listed.
    """
    is_prebuild = m.Workspace.owner == PREBUILDS_OWNER
    matches = m.Workspace.name.startswith(prefix, autoescape=True)
    query = select(m.Workspace.name).where(m.Workspace.deleted_at.is_(None), matches)
    query = query.where(~is_prebuild) if claimed else query
    return connection.execute(query.order_by(is_prebuild, m.Workspace.name).limit(limit)).scalars().all()


def read_names(connection: Connection, preset_ids: Sequence[str]) -> dict[str, PresetRef]:
    """Read the names of presets, by preset id."""
    query = select(m.Preset.id, *REF_COLUMNS).join(*VERSION_OF_PRESET).join(*TEMPLATE_OF_VERSION)
    rows = connection.execute(query.where(m.Preset.id.in_([int(identity) for identity in preset_ids])))
    return {
        str(row.id): PresetRef.of(row.template_name, row.preset_name, row.version_name, active=row.is_active)
        for row in rows
    }
