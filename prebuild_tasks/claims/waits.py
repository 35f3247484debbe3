"""Claims by their id: what they have got by now, and how those stand that wait."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, select

from prebuild_tasks.access import Reach
from prebuild_tasks.claims.answers import answer_now, workspace_of
from prebuild_tasks.claims.end_rules import end_of_wait, is_waiting, wait_stage
from prebuild_tasks.claims.requests import read_by_id
from prebuild_tasks.claims.rows import RequestedRow
from prebuild_tasks.claims.store import alive_since
from prebuild_tasks.claims.types import BeingBuilt, Claimed, WaitStage
from prebuild_tasks.claims.uncollected import Wait, return_to_pool
from prebuild_tasks.db.base import is_one_of
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError, NotFoundError, RefusedError
from prebuild_tasks.faultpoints import step
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.names import as_id
from prebuild_tasks.model.vocabulary import LOCAL_PRINCIPAL, RequestState
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces import FollowUp, end_workspace

EVERYTHING = Reach()
_ALIVE_WITHIN_S = 30.0
_TRIES = 2


def read_claim(
    database: Database,
    claim_id: str,
    *,
    actor: str | Actor,
    reach: Reach = EVERYTHING,
    alive_within: float = _ALIVE_WITHIN_S,
) -> Claimed | BeingBuilt:
    """Return what a claim has got by now. A workspace that is ready is handed over. The caller sends the follow-up.

    Args:
        database: The database.
        claim_id: The claim's id.
        actor: Who asks, and so hands it over.
        reach: Claims outside of it do not exist.
        alive_within: Seconds within which a live process has announced itself.

    Raises:
        NotFoundError: There is no such claim.
        ClaimMissError: Its workspace could not be built.
        RequestEndedError: Its workspace is gone, or the wait for it was ended.
    """
    with database.write() as connection:
        now = database.now(connection)
        since = alive_since(alive_within, now)
        requested = _find(connection, claim_id, reach, since)
        answer = answer_now(connection, requested, now, since=since, by=Actor.of(actor))
        step("claim.before_hand_over")
    return answer


def read_waiting(database: Database, claim_ids: Collection[str]) -> Mapping[str, WaitStage]:
    """Return how claims stand, by id, in one query for all who wait. Claims that do not exist are left out."""
    w = m.Workspace
    query = select(m.BoundRequest.id, m.BoundRequest.kind, w.transition, w.status, w.claimed_at, w.deleted_at)
    query = query.outerjoin(w, w.id == m.BoundRequest.workspace_id)
    with database.read() as connection:
        chosen = is_one_of(connection, m.BoundRequest.id, claim_ids)
        rows = connection.execute(query.where(chosen)).all() if claim_ids else []
    return {
        row.id: wait_stage(
            RequestState(row.kind), row.transition, row.status,
            handed_over=row.claimed_at is not None, deleted=row.deleted_at is not None,
        )
        for row in rows
    }  # fmt: skip


def give_up(database: Database, claim_id: str, *, actor: str | Actor, reach: Reach = EVERYTHING) -> FollowUp:
    """Give up the wait for a workspace: it goes back to its pool. The caller sends the follow-up.

    A local claim's workspace is deleted instead, as by `release`: release 0.1 would go on answering with it. It is not
    an error if nobody waits any more.

    Args:
        database: The database.
        claim_id: The claim's id.
        actor: Who gives up.
        reach: Claims outside of it do not exist.

    Raises:
        NotFoundError: There is no such claim.
        RefusedError: The workspace was handed over.
        RequestEndedError: It was, and has ended since.
    """
    for _ in range(_TRIES):
        with database.write() as connection:
            now = database.now(connection)
            requested = _find(connection, claim_id, reach, alive_since(_ALIVE_WITHIN_S, now))
            workspace = requested.workspace
            if end_of_wait(requested):
                return FollowUp()
            if requested.state is RequestState.GIVEN or (workspace and workspace.claimed):
                name = workspace_of(connection, requested, now).name
                raise RefusedError(
                    f"the workspace {name} of claim {claim_id} was handed over to {requested.owner}",
                    remedy=Remedy(RemedyKind.RELEASE_WORKSPACE, f"{requested.owner}/{name}"),
                )
            if workspace is None or not is_waiting(requested):
                return FollowUp()
            if requested.principal != LOCAL_PRINCIPAL:
                wait = Wait(requested.id, requested.workspace_id, workspace.preset_id, requested.owner)
                by = Actor.of(actor).acting_for(requested.owner)
                if return_to_pool(connection, wait, RequestState.GIVEN_UP, by, now):
                    return FollowUp.of(wake=[workspace.preset_id], ref=workspace.ref)
                connection.rollback()
                continue
        return end_workspace(database, requested.workspace_id, actor=actor, reach=reach).follow_up
    raise BusyError(f"the workspace of claim {claim_id} is changing at this moment", hint="try again")


def require_claim(database: Database, claim_id: str, reach: Reach = EVERYTHING) -> None:
    """Raise NotFoundError unless there is a claim within reach. Nothing is handed over."""
    with database.read() as connection:
        _find(connection, claim_id, reach, database.now(connection))


def _find(connection: Connection, claim_id: str, reach: Reach, since: datetime) -> RequestedRow:
    identity = as_id(claim_id)
    requested = read_by_id(connection, identity, since, reach) if identity else None
    if requested is None:
        raise NotFoundError(f"there is no claim {claim_id}", remedy=Remedy(RemedyKind.LIST_WORKSPACES))
    return requested
