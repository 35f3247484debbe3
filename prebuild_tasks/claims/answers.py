"""Answers of claims, for the first request and for repeated ones."""

from __future__ import annotations

from sqlalchemy import Connection

from prebuild_tasks.claims.store import read_requested, read_start_error
from prebuild_tasks.claims.types import BeingBuilt, ClaimAnswer, Claimed, ClaimedRow, Reserved
from prebuild_tasks.errors import ClaimMissError, RefusedError
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import BuildStatus, ClaimState, MissReason, Transition
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.workspaces import FollowUp, is_usable


def answer_of(row: ClaimedRow, ref: PresetRef, request_id: str) -> ClaimAnswer:
    """Make the answer of a workspace that was claimed; `ref` names its preset."""
    usable = is_usable(row.status, row.reason)
    return ClaimAnswer(
        workspace=row.name,
        workspace_id=row.id,
        preset=str(ref),
        owner=row.owner,
        url=row.url,
        directory=row.directory,
        resource_id=row.resource_id,
        host=row.host,
        request_id=request_id,
        claimed_at=row.claimed_at,
        state=ClaimState.USABLE if usable else ClaimState.PERSONALISING,
        claimed_until=row.claimed_until,
    )


def answered(connection: Connection, request_id: str, owner: str) -> Claimed | BeingBuilt | None:
    """Return what this request got before; None if it is new.

    Raises:
        ClaimMissError: The workspace that was being built for the request could not be built.
        RefusedError: Another owner made a request with this id.
    """
    requested = read_requested(connection, request_id)
    if requested is None:
        return None
    if requested.claimant != owner:
        raise RefusedError("another owner already used this request id", hint="make a new id for each request")
    name, ref = requested.name, requested.ref
    # Wake the pool again: if the first answer was lost, the first message may be lost as well.
    follow_up = FollowUp.of(wake=[requested.preset_id], ref=ref)
    if requested.claimed is not None:
        return Claimed(answer_of(requested.claimed, ref, request_id), follow_up)
    if requested.transition is Transition.START and requested.status in (BuildStatus.PENDING, BuildStatus.RUNNING):
        return BeingBuilt(Reserved(requested.id, name, requested.preset_id, follow_up), owner, str(ref))
    error = read_start_error(connection, requested.id)
    raise ClaimMissError(
        f"{name} could not be built for {owner}: {error or requested.reason}",
        reason=MissReason.BUILD_FAILED.value,
        remedy=Remedy(RemedyKind.SHOW_LOG, f"{owner}/{name}"),
    )
