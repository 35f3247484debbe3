"""Prebuilds that were found to be lost. They are replaced, at most a third of a pool at a time.

A probe stores the verdict, `condemned_at`. Probes, sweeps of resources and sweeps then take out as many as the pool may
lose, the others once replacements are ready; so what is wrong shows before the whole pool is lost. A prebuild whose
probe passes in the meantime stays.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, case, delete, or_, select

from prebuild_tasks.builds import record_unhealthy
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.vocabulary import UNHEALTHY_REASON, BuildStatus, Transition
from prebuild_tasks.reconcile import desired_now, read_pools
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import lock_preset
from prebuild_tasks.upkeep.rules import may_lose, unreplaced
from prebuild_tasks.workspaces import FollowUp, choose_for_deletion, is_pool_start_sql

log = get_logger(__name__)

_CHANGES_PER_PREBUILD, _CHANGES_MIN = 4, 100
"""Lost prebuilds and replacements that are read, by the pool's size. Older ones may be left out: a pool with that many
either was full meanwhile, or has lost and replaced all its prebuilds more than once."""
_IS_LOST = (IS_CLAIMABLE, m.ProbeState.condemned_at.is_not(None), m.ProbeState.unanswered_since.is_(None))
"""The prebuild was found to be lost, and its provisioner could be asked since."""


def replace_lost(database: Database, settings: Settings, preset_id: int | None = None) -> FollowUp:
    """Take lost prebuilds out of their pools, as many as each may lose now. The caller sends the follow-up.

    `preset_id` names a single pool; None: all of them. A pool that has its turn right now is left to the next sweep.
    """
    query = select(m.Workspace.preset_id).join(m.ProbeState, m.ProbeState.workspace_id == m.Workspace.id)
    if preset_id is not None:
        query = query.where(m.Workspace.preset_id == preset_id)
    with database.read() as connection:
        presets = connection.execute(query.where(*_IS_LOST).distinct()).scalars().all()
    follow_up = FollowUp()
    for number in sorted(presets):
        try:
            with database.write() as connection:
                lock_preset(connection, number)
                room = _room(database, connection, settings, number)
                lost = _read_lost(connection, number, room)
                follow_up |= take_out(connection, number, lost, database.now(connection))
        except BusyError:
            continue
    return follow_up


def take_out(connection: Connection, preset_id: int, lost: dict[str, str], now: datetime) -> FollowUp:
    """Take prebuilds out of their pool and begin to delete them. The caller holds the preset's row lock.

    `lost` has the reason for each, by workspace id. Those that no longer belong to the pool are left alone.
    """
    builds = choose_for_deletion(connection, list(lost), reason=UNHEALTHY_REASON, initiator="health", now=now)
    if not builds:
        return FollowUp()
    taken = select(m.Build.workspace_id).where(m.Build.id.in_([build.id for build in builds]))
    for workspace_id in sorted(str(item) for item in connection.execute(taken).scalars()):
        connection.execute(delete(m.ProbeState).where(m.ProbeState.workspace_id == workspace_id))
        record_unhealthy(connection, preset_id, f"a prebuild became unhealthy: {lost[workspace_id]}", now)
        add_history(
            connection, UNHEALTHY_REASON, now=now, actor=Actor.system("health"), workspace_ids=[workspace_id],
            preset_id=preset_id, reason=lost[workspace_id],
        )  # fmt: skip
        log.warning("unhealthy", workspace=workspace_id, preset=preset_id, message=lost[workspace_id])
    return FollowUp.of(builds, [preset_id])


def _read_lost(connection: Connection, preset_id: int, limit: int) -> dict[str, str]:
    query = (
        select(m.Workspace.id, m.ProbeState.message)
        .join(m.ProbeState, m.ProbeState.workspace_id == m.Workspace.id)
        .where(m.Workspace.preset_id == preset_id, *_IS_LOST)
        .order_by(m.ProbeState.condemned_at, m.Workspace.id)
        .limit(limit)
    )
    return {row.id: row.message for row in connection.execute(query)}


def _room(database: Database, connection: Connection, settings: Settings, preset_id: int) -> int:
    """Return how many prebuilds may be taken out of a pool now, by its size and what it lost since it was full."""
    now, [pool] = read_pools(database, connection, settings.backoff_lookback, only=[preset_id])
    desired, running = desired_now(pool.preset, now), pool.counts.live + pool.counts.expired
    size, missing = max(desired, running), max(desired - running, 0)
    max_surge = connection.execute(select(m.Preset.max_surge).where(m.Preset.id == preset_id)).scalar_one()
    changes = _read_changes(connection, preset_id, _CHANGES_PER_PREBUILD * size + _CHANGES_MIN) if missing else ()
    return may_lose(size=size, max_surge=max_surge, missing=missing, unreplaced=unreplaced(changes))


def _read_changes(connection: Connection, preset_id: int, limit: int) -> list[int]:
    """Read the newest changes of the number of lost prebuilds without a replacement, as `unreplaced` takes them."""
    is_loss = and_(m.Build.transition == Transition.DELETE, m.Build.reason == UNHEALTHY_REASON)
    is_replacement = and_(is_pool_start_sql(), m.Build.status == BuildStatus.SUCCEEDED)
    query = (
        select(case((is_loss, 1), else_=-1))
        .where(m.Build.preset_id == preset_id, or_(is_loss, is_replacement))
        # At one instant a start counts as the earlier one: it was begun before the loss, and does not replace it.
        .order_by(m.Build.created_at.desc(), m.Build.transition)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())
