"""Answers of claims, for the first request and for repeated ones."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from prebuild_tasks.claims.ends import read_end
from prebuild_tasks.claims.rules import has_ended, request_ended, warning_about
from prebuild_tasks.claims.store import ANSWER_COLUMNS, claimed_row
from prebuild_tasks.claims.types import BeingBuilt, ClaimAnswer, Claimed, ClaimedRow, Reserved
from prebuild_tasks.errors import ClaimMissError, RefusedError
from prebuild_tasks.fleet import served_column
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import BuildStatus, ClaimState, MissReason, Transition
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.lookup import REF_COLUMNS, ref_of
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
        warning=warning_about(row.host, is_served=row.is_served),
    )


def answered(
    connection: Connection, request_id: str, owner: str, *, alive_since: datetime
) -> Claimed | BeingBuilt | None:
    """Return what this request got before; None if it is new. Live processes announced themselves at `alive_since`.

    Raises:
        ClaimMissError: The workspace that was being built for the request could not be built.
        RefusedError: Another owner made a request with this id.
        RequestEndedError: What the request got is gone, or is being deleted.
    """
    row = connection.execute(
        select(
            *ANSWER_COLUMNS,
            served_column(m.Workspace.host, alive_since).label("is_served"),
            m.Workspace.transition,
            m.Workspace.deleted_at,
            m.ClaimEvent.owner.label("claimant"),
            m.ClaimEvent.workspace_id,
            *REF_COLUMNS,
        )
        .select_from(m.ClaimEvent)
        .outerjoin(m.Workspace, m.Workspace.id == m.ClaimEvent.workspace_id)
        .outerjoin(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .outerjoin(*VERSION_OF_PRESET)
        .outerjoin(*TEMPLATE_OF_VERSION)
        .where(m.ClaimEvent.request_id == request_id, m.ClaimEvent.workspace_id.is_not(None))
    ).one_or_none()
    if row is None:
        return None
    if row.claimant != owner:
        raise RefusedError("another owner already used this request id", hint="make a new id for each request")
    if row.id is None:  # its row is no longer kept
        raise request_ended(request_id, row.workspace_id, read_end(connection, row.workspace_id, "", gone=True))
    if has_ended(row.transition, row.status, deleted=row.deleted_at is not None):
        end = read_end(connection, row.id, row.name, gone=row.deleted_at is not None)
        if row.claimed_at is not None or end.by_command:
            raise request_ended(request_id, row.id, end)
    ref = ref_of(row)
    # Wake the pool again: if the first answer was lost, the first message may be lost as well.
    follow_up = FollowUp.of(wake=[row.preset_id], ref=ref)
    if row.claimed_at is not None:
        return Claimed(answer_of(claimed_row(row), ref, request_id), follow_up)
    if row.transition is Transition.START and row.status in (BuildStatus.PENDING, BuildStatus.RUNNING):
        return BeingBuilt(Reserved(row.id, row.name, row.preset_id, follow_up), owner, str(ref))
    error = _error_of_start(connection, row.id) or row.reason
    raise ClaimMissError(
        f"{row.name} could not be built for {owner}: {error}",
        reason=MissReason.BUILD_FAILED.value,
        remedy=Remedy(RemedyKind.SHOW_LOG, f"{owner}/{row.name}"),
    )


def _error_of_start(connection: Connection, workspace_id: str) -> str | None:
    query = select(m.Build.error).where(m.Build.workspace_id == workspace_id, m.Build.transition == Transition.START)
    return connection.execute(query.order_by(m.Build.number.desc()).limit(1)).scalar_one_or_none()
