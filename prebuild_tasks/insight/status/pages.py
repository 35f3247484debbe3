"""Pages of lists, each of which begins after a row: of pools, workspaces and builds that a principal may see.

The sort keys never change while a row lives, so that it appears exactly once, whatever else comes and goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, and_, or_, select

from prebuild_tasks.access import Reach, sees_preset_sql, sees_workspace_sql
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError
from prebuild_tasks.insight.status.listings import build_views, builds_query, workspace_views, workspaces_query
from prebuild_tasks.insight.status.pools import AssessedPool, read_statuses
from prebuild_tasks.insight.status.problems import checks_of
from prebuild_tasks.insight.status.views import BuildView, PoolCheck, PoolStatus, WorkspaceView
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import BuildStatus, WorkspaceState
from prebuild_tasks.reconcile import next_change
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import constant
from prebuild_tasks.schema.lookup import has_id, pool_presets
from prebuild_tasks.schema.rules import is_active
from prebuild_tasks.workspaces import workspace_state_sql


class CreatedKey(NamedTuple):
    """The sort key of a workspace or a build."""

    created_at: datetime
    id: str


class PoolKey(NamedTuple):
    """The sort key of a pool."""

    template: str
    name: str
    id: int
    """Of the preset: a pool may have several versions."""


@dataclass(frozen=True, slots=True)
class NextChange:
    """The next change of a desired size by a schedule."""

    at: datetime
    desired: int


@dataclass(frozen=True, slots=True)
class ListedPool:
    """A pool of a page."""

    key: PoolKey
    status: PoolStatus
    next_change: NextChange | None
    """None: it has no schedules, or is not active."""
    check: PoolCheck | None = None
    """Why it needs attention; None: that was not asked."""


def list_workspaces(
    database: Database,
    reach: Reach,
    after: CreatedKey | None,
    limit: int,
    *,
    owner: str = "",
    preset: str = "",
    state: str = "",
    name: str = "",
    workspace_id: str = "",
) -> list[WorkspaceView]:  # 9 arguments: the last five are the filters of the list, by name
    """List workspaces that are not deleted, oldest first.

    `preset` stands for all its versions, unless it names one with `@version`. Raises NotFoundError for a preset that
    does not exist, or is out of reach.
    """
    query = workspaces_query().where(*sees_workspace_sql(reach)).order_by(m.Workspace.created_at, m.Workspace.id)
    if after:
        later = m.Workspace.created_at > after.created_at
        query = query.where(or_(later, and_(m.Workspace.created_at == after.created_at, m.Workspace.id > after.id)))
    if owner:
        query = query.where(m.Workspace.owner == owner)
    if name:
        query = query.where(m.Workspace.name == name)
    if workspace_id:
        query = query.where(has_id(workspace_id))
    if state:
        query = query.where(workspace_state_sql().in_([constant(WorkspaceState(state))]))
    with database.read() as connection:
        if preset:
            query = query.where(m.Workspace.preset_id.in_(seen_presets(connection, reach, preset)))
        return workspace_views(database, connection, query.limit(limit))


def read_owned(database: Database, reach: Reach, owner: str, name: str) -> WorkspaceView:
    """Return a workspace that is not deleted. Raises NotFoundError, also for one that is out of reach."""
    named = and_(m.Workspace.owner == owner, m.Workspace.name == name, *sees_workspace_sql(reach))
    with database.read() as connection:
        views = workspace_views(database, connection, workspaces_query().where(named))
    if not views:
        raise NotFoundError(f"there is no workspace {owner}/{name}", remedy=Remedy(RemedyKind.LIST_WORKSPACES))
    return views[0]


def list_builds(
    database: Database, reach: Reach, after: CreatedKey | None, limit: int, *, preset: str = "", status: str = ""
) -> list[BuildView]:
    """List builds, newest first, as `builds` does. `preset` and errors are as in `list_workspaces`."""
    query = builds_query().where(*sees_workspace_sql(reach)).order_by(m.Build.created_at.desc(), m.Build.id)
    if after:
        earlier = m.Build.created_at < after.created_at
        query = query.where(or_(earlier, and_(m.Build.created_at == after.created_at, m.Build.id > after.id)))
    if status:
        query = query.where(m.Build.status == BuildStatus(status))
    with database.read() as connection:
        if preset:
            query = query.where(m.Build.preset_id.in_(seen_presets(connection, reach, preset)))
        return build_views(database, connection, query.limit(limit))


def list_pools(
    database: Database, settings: Settings, reach: Reach, after: PoolKey | None, limit: int, *, checked: bool = False
) -> list[ListedPool]:
    """List the status of pools, by name; `checked` with why they need attention."""
    with database.snapshot() as connection:
        listed = _listed(database, connection, settings, reach, checked=checked)
    return sorted((pool for pool in listed if after is None or pool.key > after), key=lambda pool: pool.key)[:limit]


def read_pool(database: Database, settings: Settings, reach: Reach, name: str) -> ListedPool:
    """Read the preset `template/preset[@version]`.

    Raises NotFoundError for one that does not exist, is out of reach, or is neither active nor has prebuilds.
    """
    with database.snapshot() as connection:
        preset_id = seen_presets(connection, reach, name)[-1]
        for pool in _listed(database, connection, settings, reach):
            if pool.key.id == preset_id:
                return pool
    raise _no_preset(name)


def find_pool(database: Database, reach: Reach, name: str) -> int:
    """Return the id of the preset `template/preset[@version]`; without a version, that of the active one.

    Raises NotFoundError for one that does not exist, or is out of reach.
    """
    with database.read() as connection:
        return seen_presets(connection, reach, name)[-1]


def seen_presets(connection: Connection, reach: Reach, name: str) -> Sequence[int]:
    """Find the ids of a pool's presets, with the active version's last.

    Raises NotFoundError for a pool that does not exist, or is out of reach. It names no other pool, because that could
    be out of reach.
    """
    try:
        ref = PresetRef.parse(name)
        ids = pool_presets(connection, str(ref))
    except (InputError, NotFoundError):
        raise _no_preset(name) from None
    query = select(m.Preset.id).where(m.Preset.id.in_(ids), *sees_preset_sql(reach))
    seen = set(connection.execute(query).scalars())
    if not seen:
        raise _no_preset(name)
    return [preset_id for preset_id in ids if preset_id in seen]


def _listed(
    database: Database, connection: Connection, settings: Settings, reach: Reach, *, checked: bool = False
) -> list[ListedPool]:
    seen = seen_among(connection, reach)
    now, pools = read_statuses(database, connection, settings)
    checks = checks_of(connection, settings, now, pools) if checked else [None] * len(pools)
    return [
        listed_pool(pool, now, check)
        for pool, check in zip(pools, checks, strict=True)
        if seen is None or pool.row.preset_id in seen
    ]


def seen_among(connection: Connection, reach: Reach) -> set[int] | None:
    """Read the ids of the presets within reach; None: all are. At most one statement."""
    if reach.is_everything:
        return None
    return {*connection.execute(select(m.Preset.id).where(*sees_preset_sql(reach))).scalars()}


def listed_pool(pool: AssessedPool, now: datetime, check: PoolCheck | None = None) -> ListedPool:
    """Return a pool as a row of a page."""
    preset = pool.row.preset
    change = next_change(preset, now) if is_active(preset) else None
    return ListedPool(
        PoolKey(*pool.row.ref.pool, pool.row.preset_id), pool.status, NextChange(*change) if change else None, check
    )


def _no_preset(name: str) -> NotFoundError:
    return NotFoundError(f"there is no preset {name}", remedy=Remedy(RemedyKind.LIST_POOLS))
