"""Answers of claims, for the first request and for repeated ones."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from prebuild_tasks.claims.ends import read_end
from prebuild_tasks.claims.rules import answer_of, end_of_time, has_ended, request_ended
from prebuild_tasks.claims.store import read_requested, read_start_error
from prebuild_tasks.claims.types import BeingBuilt, Claimed, Reserved
from prebuild_tasks.errors import ClaimMissError, RefusedError
from prebuild_tasks.model.vocabulary import BuildStatus, MissReason, Transition
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.workspaces import FollowUp


def answered(
    connection: Connection, request_id: str, owner: str, now: datetime, *, alive_since: datetime
) -> Claimed | BeingBuilt | None:
    """Return what this request got before; None if it is new. Live processes announced themselves at `alive_since`.

    Raises:
        ClaimMissError: The workspace that was being built for the request could not be built.
        RefusedError: Another owner made a request with this id.
        RequestEndedError: What the request got is gone, is being deleted, or is past its `claimed_ttl`.
    """
    requested = read_requested(connection, request_id, alive_since)
    if requested is None:
        return None
    if requested.claimant != owner:
        raise RefusedError("another owner already used this request id", hint="make a new id for each request")
    workspace_id, workspace = requested.workspace_id, requested.workspace
    if workspace is None:
        raise request_ended(request_id, workspace_id, read_end(connection, workspace_id, "", gone=True))
    name, ref = workspace.name, workspace.ref
    if has_ended(workspace.transition, workspace.status, deleted=workspace.deleted):
        end = read_end(connection, workspace_id, name, gone=workspace.deleted)
        if workspace.claimed or end.by_command:
            raise request_ended(request_id, workspace_id, end)
    if workspace.claimed and (overdue := end_of_time(workspace.claimed, now)):
        raise request_ended(request_id, workspace_id, overdue)
    # Wake the pool again: if the first answer was lost, the first message may be lost as well.
    follow_up = FollowUp.of(wake=[workspace.preset_id], ref=ref)
    if workspace.claimed:
        return Claimed(answer_of(workspace.claimed, ref, request_id), follow_up)
    if workspace.transition is Transition.START and workspace.status in (BuildStatus.PENDING, BuildStatus.RUNNING):
        return BeingBuilt(Reserved(workspace_id, name, workspace.preset_id, follow_up), owner, str(ref))
    error = read_start_error(connection, workspace_id) or workspace.reason
    raise ClaimMissError(
        f"{name} could not be built for {owner}: {error}",
        reason=MissReason.BUILD_FAILED.value,
        remedy=Remedy(RemedyKind.SHOW_LOG, f"{owner}/{name}"),
    )
