"""The pools that a claim may take from, and the owner's limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, select

from prebuild_tasks.access import sees_preset_sql
from prebuild_tasks.claims.rows import Pool
from prebuild_tasks.claims.rules import check_choice, refuse_at_limit
from prebuild_tasks.claims.store import count_workspaces, read_candidates
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.reconcile import second_choices
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import VERSION_OF_PRESET
from prebuild_tasks.schema.lookup import resolve_preset
from prebuild_tasks.schema.row_locks import lock_owner


def find_pools(connection: Connection, request: ClaimRequest) -> list[Pool]:
    """Return the pools that a request means, in order of preference.

    Raises:
        InputError: Both presets and a template were named, or neither.
        NotFoundError: There is no such preset or template within the principal's reach, or none matches.
    """
    presets, template = request.presets, request.template
    within = sees_preset_sql(request.reach) if request.reach else []
    check_choice(request)
    if presets:
        ids = [resolve_preset(connection, name, within) for name in presets]
    else:
        ids = [_find_matching(connection, template, request.parameters, within)]
    return read_candidates(connection, list(dict.fromkeys(ids)))


def second_choice_pools(connection: Connection, pool: Pool) -> list[Pool]:
    """Return where a claim may find a second choice, newest version first; empty unless the pool replaces gradually.

    Its `claimed_ttl` is the pool's: a TTL changes in place, and does not wait for the prebuilds to be replaced.
    """
    if not pool.rolling or not pool.active:
        return []
    candidates = read_candidates(connection, second_choices(connection, [pool.id]).get(pool.id, []))
    return [replace(candidate, outdated=True, claimed_ttl=pool.claimed_ttl) for candidate in candidates]


def check_owner_limit(connection: Connection, owner: str, pools: Sequence[Pool]) -> None:
    """Raise RefusedError if the owner has as many workspaces as the organization of one of the pools allows."""
    limits = {pool.organization_id: pool.max_per_owner for pool in pools if pool.max_per_owner is not None}
    for organization_id, limit in limits.items():
        lock_owner(connection, owner)
        number = connection.execute(count_workspaces(owner, organization_id)).scalar_one()
        refuse_at_limit(owner, number, limit)


def _find_matching(
    connection: Connection, template: str, parameters: Mapping[str, str], within: Sequence[ColumnElement[bool]]
) -> int:
    """Return the preset of the active version whose parameters all have the requested values.

    If several match, the one with the most parameters wins, then the first by name.

    Raises:
        NotFoundError: There is no such template, or none of its presets matches.
    """
    rows = connection.execute(
        select(m.Preset.id, m.Preset.name, m.PresetParameter.name.label("parameter"), m.PresetParameter.value)
        .join(*VERSION_OF_PRESET)
        .join(m.Template, m.Template.active_version_id == m.TemplateVersion.id)
        .outerjoin(m.PresetParameter, m.PresetParameter.preset_id == m.Preset.id)
        .where(m.Template.name == template, m.Preset.removed_at.is_(None), *within)
    ).all()
    if not rows:
        raise NotFoundError(f"there is no template {template} with presets", remedy=Remedy(RemedyKind.LIST_POOLS))
    wanted: dict[tuple[str, int], list[bool]] = {}
    for row in rows:
        matches = wanted.setdefault((row.name, row.id), [])
        if row.parameter is not None:
            # The value of a secret is NULL and never matches.
            matches.append(row.value is not None and parameters.get(row.parameter) == row.value)
    fitting = [(-len(matches), name, preset_id) for (name, preset_id), matches in wanted.items() if all(matches)]
    if not fitting:
        raise NotFoundError(f"no preset of {template} has these parameters", remedy=Remedy(RemedyKind.LIST_POOLS))
    return min(fitting)[2]
