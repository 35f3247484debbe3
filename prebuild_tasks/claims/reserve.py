"""Reserve a build for a person who waits, when no prebuild is ready.

A start that the pool has already begun will be ready first, so the person gets that one, and the pool builds another.
If the pool has begun none, a new one begins, within the limits.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVarTuple

from sqlalchemy import Connection, Select, and_, func, insert, select, update

from prebuild_tasks.access import sees_workspace_sql
from prebuild_tasks.claims.rows import Pool
from prebuild_tasks.claims.rules import check_buildable, is_buildable, may_begin
from prebuild_tasks.claims.types import Attempt, Reserved
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.model.names import PREBUILD_PREFIX, claimed_name
from prebuild_tasks.model.random_names import prebuild_name
from prebuild_tasks.model.vocabulary import RECONCILER, BuildPriority, BuildStatus, Transition
from prebuild_tasks.reconcile import read_in_flight
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_HELD, IS_KEPT, IS_LIVE_PREBUILD, IS_START
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.pauses import global_pause, pause_holds
from prebuild_tasks.schema.row_locks import lock_installation, lock_organizations, skip_locked
from prebuild_tasks.workspaces import (
    WAIT_REASON,
    BuildOrigin,
    FollowUp,
    delete_workspaces,
    insert_builds,
    leave_to_upkeep,
)

Ts = TypeVarTuple("Ts")

YIELD_REASON = "clean_up"
"""The reason for deleting failed prebuilds, as of those that the sweep deletes."""


def reserve(connection: Connection, pools: Sequence[Pool], attempt: Attempt, now: datetime) -> Reserved | None:
    """Have a workspace built for the owner from the first pool where that is possible.

    Args:
        connection: The connection to write with.
        pools: The pools, in order of preference.
        attempt: The request of the person who waits.
        now: The database's time.

    Returns:
        None if the person has to wait, because the pool is paused, too many builds are in flight, or a failed prebuild
        yields its place.

    Raises:
        RefusedError: No pool can build one: each is blocked, no longer active, or its organization is full.
    """
    for pool in pools:
        if adopted := _adopt(connection, pool, attempt, now):
            return adopted
    # Before any pool is tried: a pool whose organization is full leaves its locks held while the next pool is tried.
    organizations = {pool.organization_id for pool in pools if is_buildable(pool) and not pause_holds(pool.paused, now)}
    lock_organizations(connection, organizations)
    if attempt.max_builds_in_flight and organizations:
        lock_installation(connection)
    refused: RefusedError | None = None
    may_wait = False
    for pool in pools:
        try:
            check_buildable(pool)
            is_paused = pause_holds(pool.paused, now) or pause_holds(global_pause(connection), now)
            reserved = None if is_paused else _begin(connection, pool, attempt, now)
        except RefusedError as error:
            refused = refused or error
            continue
        if reserved:
            return reserved
        may_wait = True
    if may_wait or not refused:
        return None
    if not any(_make_room(connection, organization, now) for organization in sorted(organizations)):
        raise refused
    return None


def _make_room(connection: Connection, organization_id: int, now: datetime) -> bool:
    """Return whether a failed prebuild yields its place to the person, who waits until it is deleted.

    One at a time does: while one is being deleted, no other is begun to be. The caller has locked the organization, and
    was refused for its quota. The deletion is sent by a builds worker with a free thread, or by the sweep.
    """
    yielding = and_(
        m.Workspace.organization_id == organization_id,
        m.Workspace.reason == YIELD_REASON,
        m.Workspace.deleted_at.is_(None),
        m.Workspace.transition == Transition.DELETE,
        m.Workspace.status != BuildStatus.FAILED,
    )
    if connection.execute(select(m.Workspace.id).where(yielding).limit(1)).one_or_none():
        return True
    kept = select(m.Workspace.id).where(m.Workspace.organization_id == organization_id, IS_KEPT)
    oldest = kept.order_by(m.Workspace.created_at, m.Workspace.id).limit(1)
    ids = list(connection.execute(skip_locked(oldest)).scalars())
    builds = delete_workspaces(
        connection, ids, reason=YIELD_REASON, initiator=RECONCILER, now=now, only=[IS_LIVE_PREBUILD]
    )
    leave_to_upkeep(FollowUp.of(builds))  # the claim ends with an error, which has none
    return bool(builds)


def _adopt(connection: Connection, pool: Pool, attempt: Attempt, now: datetime) -> Reserved | None:
    """Give the pool's most advanced start to the person; one on hold only if there is no other.

    The build is locked before the workspace, the order in which every transaction that ends or cancels it locks them.
    If another transaction ended or adopted it meanwhile, its lock is released, because the caller goes on to locks that
    come before it in the order. Without a start, nothing is locked, and this takes one statement.
    """
    query = (
        _adoptable(select(m.Build.id, m.Build.workspace_id), [pool.id])
        .order_by(IS_HELD, m.Build.started_at.is_(None), m.Build.started_at, m.Build.created_at, m.Build.id)
        .limit(1)
    )
    if connection.execute(query).one_or_none() is None:
        return None
    with connection.begin_nested() as savepoint:
        build = connection.execute(skip_locked(query, of=m.Build)).one_or_none()
        adopted = build and _give(connection, build.workspace_id, attempt)
        if build is None or adopted is None:
            savepoint.rollback()
            return None
    connection.execute(
        update(m.Build)
        .where(m.Build.id == build.id)
        .values(priority=BuildPriority.PERSON_WAITS, initiator=attempt.owner)
    )
    _remember(connection, pool, build.workspace_id, attempt, now)
    return Reserved(build.workspace_id, adopted, pool.id, FollowUp.of(wake=[pool.id], ref=pool.ref))


def count_adoptable(connection: Connection, preset_ids: Sequence[int]) -> dict[int, int]:
    """Count, by preset, the starts that pools have begun, and that people who wait may be given."""
    query = _adoptable(select(m.Build.preset_id, func.count().label("number")), preset_ids).group_by(m.Build.preset_id)
    return {row.preset_id: row.number for row in connection.execute(query)}


def _adoptable(query: Select[*Ts], preset_ids: Sequence[int]) -> Select[*Ts]:
    """Restrict a query of builds to the starts of these presets, and join their workspaces."""
    latest = and_(m.Workspace.id == m.Build.workspace_id, m.Workspace.build_number == m.Build.number)
    return query.join(m.Workspace, latest).where(
        m.Build.preset_id.in_(preset_ids),
        m.Build.transition == Transition.START,
        m.Build.status.in_((BuildStatus.PENDING, BuildStatus.RUNNING)),
        IS_LIVE_PREBUILD,
    )


def _give(connection: Connection, workspace_id: str, attempt: Attempt) -> str | None:
    """Give a prebuild that is being started to the person, and return its name; None: it no longer is one."""
    reach = attempt.request.reach
    within = sees_workspace_sql(replace(reach, owner="")) if reach else []
    named = attempt.request.name or func.replace(m.Workspace.name, PREBUILD_PREFIX, "")
    return connection.execute(
        update(m.Workspace)
        .where(
            m.Workspace.id == workspace_id,
            IS_LIVE_PREBUILD,
            IS_START,
            m.Workspace.status.in_((BuildStatus.PENDING, BuildStatus.RUNNING)),
            *within,
        )
        .values(owner=attempt.owner, name=named, slot=None, reason=WAIT_REASON)
        .returning(m.Workspace.name)
    ).scalar_one_or_none()


def _begin(connection: Connection, pool: Pool, attempt: Attempt, now: datetime) -> Reserved | None:
    """Begin a build for the person, under the locks of the pool's organization and the installation.

    Neither backoff nor slow start prevents it: they limit what a pool builds on its own after failures.
    """
    in_flight = read_in_flight(connection, pool.id, pool.organization_id)
    limits = in_flight.limits(
        max_in_flight=pool.max_builds_in_flight, slow_start=None, max_everywhere=attempt.max_builds_in_flight
    )
    if not may_begin(limits):
        return None
    workspace_id, owner = str(uuid.uuid4()), attempt.owner
    name = attempt.request.name or claimed_name(prebuild_name())
    connection.execute(
        insert(m.Workspace).values(
            id=workspace_id,
            name=name,
            owner=owner,
            organization_id=pool.organization_id,
            preset_id=pool.id,
            recipe_digest=pool.recipe_digest,
            created_at=now,
            transition=Transition.START,
            status=BuildStatus.PENDING,
            build_number=1,
            reason=WAIT_REASON,
        )
    )
    builds = insert_builds(
        connection,
        [BuildOrigin(workspace_id, 1, pool.organization_id, pool.id, name)],
        transition=Transition.START,
        reason=WAIT_REASON,
        initiator=owner,
        now=now,
        priority=BuildPriority.PERSON_WAITS,
    )
    _remember(connection, pool, workspace_id, attempt, now)
    return Reserved(workspace_id, name, pool.id, FollowUp.of(builds, [pool.id], ref=pool.ref))


def _remember(connection: Connection, pool: Pool, workspace_id: str, attempt: Attempt, now: datetime) -> None:
    add_history(
        connection, "reserved", now=now, actor=attempt.actor, workspace_ids=[workspace_id], preset_id=pool.id,
        reason=WAIT_REASON,
    )  # fmt: skip
