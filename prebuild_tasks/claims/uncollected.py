"""Workspaces that nobody waits for any more: they go back to their pools."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

from sqlalchemy import Connection, and_, or_, select, update

from prebuild_tasks.claims.requests import change_state
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.random_names import prebuild_name
from prebuild_tasks.model.vocabulary import (
    FINAL_STATUSES,
    PREBUILDS_OWNER,
    RECONCILER,
    BuildPriority,
    BuildStatus,
    RequestState,
)
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IN_PROGRESS, IS_START, IS_UNCOLLECTED
from prebuild_tasks.schema.counters import POOL_REASON
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import for_no_key_update, lock_preset
from prebuild_tasks.workspaces import FollowUp, NewBuild, delete_workspaces, is_awaited_sql

_BATCH = 100
"""The most waits that one sweep ends."""
_ACTOR_MAX = 100
"""Characters that are stored of whoever ended a wait."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A claim that waits for its workspace."""

    claim_id: str
    workspace_id: str
    preset_id: int
    owner: str


@dataclass(frozen=True, slots=True)
class Uncollected:
    """The end of waits whose workspaces nobody came for."""

    number: int
    follow_up: FollowUp
    """Turns of their pools, and deletions of what was handed over."""


def end_uncollected(database: Database, keep: float) -> Uncollected:
    """End the waits whose workspace has been ready for `keep` seconds. The caller sends the follow-up.

    It goes back to its pool. One that a builds worker of release 0.1 handed over, which does not wait for its owner, is
    deleted once its claim hook has run.
    """
    with database.read() as connection:
        before = database.now(connection) - timedelta(seconds=keep)
        waits = _read_uncollected(connection, before)
    ended = Uncollected(0, FollowUp())
    for wait, is_handed_over in waits:
        try:
            with database.write() as connection:
                now, by = database.now(connection), Actor.system()
                if is_handed_over:
                    builds = _delete(connection, wait, before, now)
                    done = bool(builds)
                else:
                    builds, done = [], return_to_pool(connection, wait, RequestState.NOT_COLLECTED, by, now)
                if not done:
                    connection.rollback()
        except BusyError:
            continue  # the next sweep tries again
        if done:
            ended = Uncollected(ended.number + 1, ended.follow_up | FollowUp.of(builds, [wait.preset_id]))
    return ended


def _read_uncollected(connection: Connection, before: datetime) -> list[tuple[Wait, bool]]:
    """Read the waits whose workspace was ready before then, each with whether it was handed over all the same."""
    w = m.Workspace
    is_ready = and_(w.claimed_at.is_(None), w.status == BuildStatus.SUCCEEDED, w.ready_at < before)
    query = (
        select(m.BoundRequest.id.label("claim_id"), m.BoundRequest.owner, w.id, w.preset_id, w.claimed_at)
        .join(w, w.id == m.BoundRequest.workspace_id)
        .where(IS_UNCOLLECTED, IS_START, w.deleted_at.is_(None), or_(is_ready, w.claimed_at < before))
        .limit(_BATCH)
    )
    return [
        (Wait(row.claim_id, row.id, row.preset_id, row.owner), row.claimed_at is not None)
        for row in connection.execute(query)
    ]


def return_to_pool(connection: Connection, wait: Wait, state: RequestState, by: Actor, now: datetime) -> bool:
    """Return a workspace that is being built or ready to its pool, which may then have one too many.

    Args:
        connection: The connection to write with.
        wait: The wait that ends.
        state: What becomes of the request.
        by: Who ends the wait.
        now: The database's time.

    Returns:
        Whether it was done; False if the workspace was handed over or ended meanwhile. The caller then rolls back.
    """
    lock_preset(connection, wait.preset_id)  # under which the pool chooses slots, too
    of_workspace = select(m.Build.id, m.Build.status).where(m.Build.workspace_id == wait.workspace_id)
    builds = connection.execute(for_no_key_update(of_workspace.order_by(m.Build.number))).all()
    # Whoever claims the workspace next has an event for it; of release 0.1, each workspace has one.
    event = m.ClaimEvent.workspace_id == wait.workspace_id
    connection.execute(update(m.ClaimEvent).where(event).values(workspace_id=None))
    if not change_state(connection, wait.claim_id, state, at=now, by=str(by)[:_ACTOR_MAX]):
        return False
    returned = connection.execute(
        update(m.Workspace)
        .where(
            m.Workspace.id == wait.workspace_id,
            is_awaited_sql(),
            IS_START,
            or_(IN_PROGRESS, m.Workspace.status == BuildStatus.SUCCEEDED),
        )
        .values(
            owner=PREBUILDS_OWNER,
            name=prebuild_name(),
            slot=_free_slot(connection, wait.preset_id),
            reason=POOL_REASON,
        )
    )
    if returned.rowcount != 1:
        return False
    # Whoever claims it next must not learn for whom it was built.
    connection.execute(
        update(m.Build).where(m.Build.id.in_([build.id for build in builds])).values(initiator=RECONCILER)
    )
    unfinished = [build.id for build in builds if build.status not in FINAL_STATUSES]
    connection.execute(update(m.Build).where(m.Build.id.in_(unfinished)).values(priority=BuildPriority.PREBUILD))
    _remember(connection, wait, state, by, now)
    return True


def _delete(connection: Connection, wait: Wait, before: datetime, now: datetime) -> list[NewBuild]:
    """Begin deleting a workspace that was handed over to somebody who did not come; empty while its hook runs."""
    state, by = RequestState.NOT_COLLECTED, Actor.system()
    if not change_state(connection, wait.claim_id, state, at=now, by=str(by)):
        return []
    only = [m.Workspace.claimed_at < before]
    builds = delete_workspaces(
        connection, [wait.workspace_id], reason=state.value, initiator=RECONCILER, now=now, only=only
    )
    _remember(connection, wait, state, by, now)
    return builds


def _remember(connection: Connection, wait: Wait, state: RequestState, by: Actor, now: datetime) -> None:
    add_history(
        connection, state.value, now=now, actor=by, workspace_ids=[wait.workspace_id], preset_id=wait.preset_id,
        owner=wait.owner, reason=state.value,
    )  # fmt: skip


def _free_slot(connection: Connection, preset_id: int) -> int:
    query = select(m.Workspace.slot).where(m.Workspace.preset_id == preset_id, m.Workspace.slot.is_not(None))
    taken = set(connection.execute(query).scalars())
    return next(slot for slot in count() if slot not in taken)
