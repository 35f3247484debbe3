"""Answers of claims, for the first request and for repeated ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from prebuild_tasks.claims.candidates import find_pools
from prebuild_tasks.claims.end_rules import end_of_time, end_of_wait, has_ended, is_ready_for_collection, request_ended
from prebuild_tasks.claims.ends import read_end
from prebuild_tasks.claims.requests import change_state, read_by_id, read_by_key
from prebuild_tasks.claims.rows import RequestedRow, RequestedWorkspace
from prebuild_tasks.claims.rules import answer_of, check_repeated
from prebuild_tasks.claims.store import alive_since, read_latest_start
from prebuild_tasks.claims.types import Attempt, BeingBuilt, Claimed, ClaimRequest, Reserved
from prebuild_tasks.errors import BuildFailedError, BusyError, NotFoundError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.vocabulary import BuildStatus, RequestState, Transition
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.workspaces import FollowUp, hand_over


def answered(connection: Connection, attempt: Attempt, now: datetime) -> Claimed | BeingBuilt | None:
    """Return what this request got before; None if it is new.

    Raises:
        NotFoundError: It got what is no longer within the principal's reach.
        RefusedError: Another owner made a request with this id.
        RequestReusedError: A request with this id asked for something else.
        PrebuildError: As `answer_now`.
    """
    request, since = attempt.request, alive_since(attempt.alive_within, now)
    requested = read_by_key(connection, request.principal, request.request_id, since)
    if requested is None:
        return None
    check_repeated(request, attempt.owner, requested)
    _require_within(connection, request, requested, since)
    return answer_now(connection, requested, now, since=since, by=attempt.actor)


def _require_within(connection: Connection, request: ClaimRequest, requested: RequestedRow, since: datetime) -> None:
    """Raise NotFoundError unless what a request got is within the principal's reach, which may have become smaller."""
    reach = request.reach
    if reach is None or reach.is_everything or requested.workspace is None:
        return  # of a workspace whose row is no longer kept, only its end is told
    if read_by_id(connection, requested.id, since, reach):
        return
    find_pools(connection, request)  # says the same of what does not exist
    raise NotFoundError(f"there is no claim of the request {request.request_id}")


def answer_now(
    connection: Connection, requested: RequestedRow, now: datetime, *, since: datetime, by: Actor
) -> Claimed | BeingBuilt:
    """Return what a request got, as it is now. A workspace that is ready and waits for its owner is handed over.

    Args:
        connection: The connection to write with.
        requested: What the request got.
        now: The database's time.
        since: The time since which a live process has announced itself.
        by: Who asks.

    Raises:
        BuildFailedError: The workspace that was being built for the request could not be built.
        RequestEndedError: What the request got is gone, is being deleted, or is past its `claimed_ttl`; or the wait for
            it has ended.
    """
    workspace = workspace_of(connection, requested, now)
    request_id, workspace_id, name, ref = requested.request_id, requested.workspace_id, workspace.name, workspace.ref
    if is_ready_for_collection(requested):
        return _collect(connection, requested, now, since=since, by=by.acting_for(requested.owner))
    # Wake the pool again: if the first answer was lost, the first message may be lost as well.
    follow_up = FollowUp.of(wake=[workspace.preset_id], ref=ref)
    if workspace.claimed:
        answer = answer_of(workspace.claimed, ref, request_id, requested.id)
        return Claimed(answer, follow_up, replayed=True)
    if workspace.transition is Transition.START and workspace.status in (BuildStatus.PENDING, BuildStatus.RUNNING):
        reserved = Reserved(workspace_id, name, workspace.preset_id, follow_up)
        return BeingBuilt(reserved, requested.owner, str(ref), requested.id, request_id, replayed=True)
    raise _not_built(connection, requested, workspace)


def _not_built(connection: Connection, requested: RequestedRow, workspace: RequestedWorkspace) -> BuildFailedError:
    """Return the error of a build that failed. It names the build: the workspace's newest one may be its deletion."""
    start = read_latest_start(connection, requested.workspace_id)
    error = (start.error if start else "") or workspace.reason
    return BuildFailedError(
        f"{workspace.name} could not be built for {requested.owner}: {error}",
        remedy=Remedy(RemedyKind.SHOW_LOG, start.build_id) if start else None,
    )


def workspace_of(connection: Connection, requested: RequestedRow, now: datetime) -> RequestedWorkspace:
    """Return the workspace that a request got. Raises RequestEndedError if it has ended, or the wait for it has."""
    request_id, workspace_id, workspace = requested.request_id, requested.workspace_id, requested.workspace
    if over := end_of_wait(requested):
        raise request_ended(request_id, "", over)
    if workspace is None:
        end = read_end(connection, workspace_id, "", gone=True)
        raise request_ended(request_id, workspace_id, replace(end, at=end.at or requested.ended_at))
    if has_ended(workspace.transition, workspace.status, deleted=workspace.deleted):
        end = read_end(connection, workspace_id, workspace.name, gone=workspace.deleted)
        if workspace.claimed or end.by_command:
            raise request_ended(request_id, workspace_id, end)
    if workspace.claimed and (overdue := end_of_time(workspace.claimed, now)):
        raise request_ended(request_id, workspace_id, overdue)
    return workspace


def _collect(
    connection: Connection, requested: RequestedRow, now: datetime, *, since: datetime, by: Actor
) -> Claimed | BeingBuilt:
    """Hand a ready workspace over to the owner who waited for it, and return what the request has got by that."""
    builds, workspace = [], workspace_of(connection, requested, now)
    if change_state(connection, requested.id, RequestState.GIVEN) and workspace.claimed is None:
        builds = hand_over(connection, requested.workspace_id, now=now, collected_by=by)
    again = read_by_id(connection, requested.id, since)
    if again is None or is_ready_for_collection(again):
        raise BusyError(f"{workspace.name} is changing at this moment", hint="try again")
    answer = answer_now(connection, again, now, since=since, by=by)
    if not builds or isinstance(answer, BeingBuilt):
        return answer
    return replace(answer, follow_up=FollowUp.of(builds, [workspace.preset_id], ref=workspace.ref))
