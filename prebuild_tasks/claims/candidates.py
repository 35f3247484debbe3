"""Which pools a claim may take from: the presets it names, or the one its parameters match, and the owner's limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from prebuild_tasks.claims.store import _matching, _pools, has_workspaces
from prebuild_tasks.claims.types import Pool
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, RefusedError
from prebuild_tasks.reconcile import second_choices
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema.lookup import resolve_preset
from prebuild_tasks.schema.row_locks import lock_owner


def find_pools(
    connection: Connection, presets: Sequence[str], template: str, parameters: Mapping[str, str]
) -> list[Pool]:
    """The pools meant, in order of preference. Raises InputError, NotFoundError."""
    if bool(presets) == bool(template):
        raise InputError("name presets, or a template with parameters", remedy=Remedy(RemedyKind.CLAIM_WORKSPACE))
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
                f"{owner} has {has} workspaces, the limit is {limit}",
                hint="release one",
                remedy=Remedy(RemedyKind.RELEASE_WORKSPACE),
            )
