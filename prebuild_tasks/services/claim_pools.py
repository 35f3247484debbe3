"""Which pools a claim may take from: the presets it names, or the one its parameters match, and the owner's limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Select, func, select, text

from prebuild_tasks.core.model import PresetStatus
from prebuild_tasks.errors import InputError, NotFoundError, RefusedError
from prebuild_tasks.services.handover import has_hook
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage.conditions import (
    IS_ACTIVE,
    REF_COLUMNS,
    ROLLING,
    TEMPLATE_OF_VERSION,
    VERSION_OF_PRESET,
    ref_of,
    resolve_preset,
)
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.siblings import second_choices

_OWNER_LOCK = 7233690147


@dataclass(frozen=True, slots=True)
class Pool:
    """A preset, as far as a claim must know it."""

    id: int
    ref: str
    organization_id: int
    claimed_ttl: float | None
    hook: bool
    max_per_owner: int | None
    max_builds_in_flight: int | None
    recipe_digest: str
    status: PresetStatus
    status_reason: str
    paused: Mapping[str, Any] | None
    active: bool
    deleted: bool
    rolling: bool
    outdated: bool = False
    """Taken as second choice: invalidated ones count too, only those past their TTL do not."""


def find_pools(
    connection: Connection, presets: Sequence[str], template: str, parameters: Mapping[str, str]
) -> list[Pool]:
    """The pools meant, in order of preference. Raises InputError, NotFoundError."""
    if bool(presets) == bool(template):
        raise InputError(
            "name presets, or a template with parameters", hint="prebuild claim template/preset --owner NAME"
        )
    if presets:
        ids = [resolve_preset(connection, name) for name in presets]
    else:
        ids = [_matching(connection, template, parameters)]
    return _pools(connection, list(dict.fromkeys(ids)))


def second_choice(connection: Connection, pool: Pool) -> list[Pool]:
    """Where to turn when the pool has no eligible prebuild while it is being replaced by and by, newest first."""
    if not pool.rolling or not pool.active:
        return []
    return [replace(item, outdated=True) for item in _pools(connection, second_choices(connection, pool.id))]


def check_owner_limit(connection: Connection, database: Database, owner: str, pools: Sequence[Pool]) -> None:
    """Raises RefusedError when the owner has as many workspaces as an organization allows."""
    limits = {pool.organization_id: pool.max_per_owner for pool in pools if pool.max_per_owner is not None}
    for organization_id, limit in limits.items():
        if database.dialect == "postgresql":
            lock_owner(connection, owner)
        has = connection.execute(has_workspaces(owner, organization_id)).scalar_one()
        if has >= limit:
            raise RefusedError(
                f"{owner} has {has} workspaces, the limit is {limit}", hint="release one: prebuild release WORKSPACE"
            )


def lock_owner(connection: Connection, owner: str) -> None:
    """Two claims of one owner at once count one after the other. PostgreSQL only; on SQLite every write does."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:o, :k))"), {"o": owner, "k": _OWNER_LOCK})


def has_workspaces(owner: str, organization_id: int) -> Select[int]:
    """How many workspaces of the organization are the owner's, those that are built for them included."""
    return (
        select(func.count())
        .select_from(m.Workspace)
        .where(
            m.Workspace.owner == owner,
            m.Workspace.organization_id == organization_id,
            m.Workspace.deleted_at.is_(None),
        )
    )


def _pools(connection: Connection, ids: Sequence[int]) -> list[Pool]:
    if not ids:
        return []
    rows = connection.execute(
        select(
            m.Preset.id,
            m.Preset.claimed_ttl_s,
            m.Preset.status,
            m.Preset.status_reason,
            m.Preset.paused,
            m.Preset.recipe_digest,
            m.Preset.replace_strategy,
            m.Preset.max_builds_in_flight,
            m.TemplateVersion.config,
            m.Organization.max_per_owner,
            m.Organization.id.label("organization_id"),
            m.Template.deleted_at,
            IS_ACTIVE.label("active"),
            *REF_COLUMNS,
        )
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .join(m.Organization, m.Organization.id == m.Template.organization_id)
        .where(m.Preset.id.in_(ids))
    ).all()
    found = {
        row.id: Pool(
            id=row.id,
            ref=ref_of(row),
            organization_id=row.organization_id,
            claimed_ttl=row.claimed_ttl_s,
            hook=has_hook(row.config),
            max_per_owner=row.max_per_owner,
            max_builds_in_flight=row.max_builds_in_flight,
            recipe_digest=row.recipe_digest,
            status=row.status,
            status_reason=row.status_reason,
            paused=row.paused,
            active=bool(row.active),
            deleted=row.deleted_at is not None,
            rolling=row.replace_strategy == ROLLING,
        )
        for row in rows
    }
    return [found[preset_id] for preset_id in ids if preset_id in found]


def _matching(connection: Connection, template: str, given: Mapping[str, str]) -> int:
    """The preset whose every parameter is given; of several the one with most parameters, then the first by name."""
    rows = connection.execute(
        select(m.Preset.id, m.Preset.name, m.PresetParameter.name.label("parameter"), m.PresetParameter.value)
        .join(*VERSION_OF_PRESET)
        .join(m.Template, m.Template.active_version_id == m.TemplateVersion.id)
        .outerjoin(m.PresetParameter, m.PresetParameter.preset_id == m.Preset.id)
        .where(m.Template.name == template, m.Preset.removed_at.is_(None))
    ).all()
    if not rows:
        raise NotFoundError(f"there is no template {template} with presets", hint="see: prebuild status")
    wanted: dict[tuple[str, int], list[bool]] = {}
    for row in rows:
        matches = wanted.setdefault((row.name, row.id), [])
        if row.parameter is not None:
            # A secret's value is NULL here: it never matches.
            matches.append(row.value is not None and given.get(row.parameter) == row.value)
    fitting = [(-len(matches), name, preset_id) for (name, preset_id), matches in wanted.items() if all(matches)]
    if not fitting:
        raise NotFoundError(f"no preset of {template} has these parameters", hint="see: prebuild status")
    return min(fitting)[2]
