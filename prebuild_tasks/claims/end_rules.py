"""Rules of the ends of claims: whether what a request got has ended, and how that is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prebuild_tasks.claims.rows import End
from prebuild_tasks.claims.types import WaitStage
from prebuild_tasks.errors import RequestEndedError
from prebuild_tasks.model.vocabulary import LOCAL_PRINCIPAL, RECONCILER, BuildStatus, RequestState, Transition

if TYPE_CHECKING:
    from datetime import datetime

    from prebuild_tasks.claims.rows import ClaimedRow, RequestedRow

_IN_PROGRESS = (BuildStatus.PENDING, BuildStatus.RUNNING)
_ENDS: Mapping[str, str] = {
    "released": "it was released by {by}",
    "operator": "it was deleted by {by}",
    "claimed_ttl": "its claimed_ttl ended",
    "host_forgotten": "it was lost with its host, which {by} gave up",
    RequestState.GIVEN_UP: "{by} no longer waited for it",
    RequestState.NOT_COLLECTED: "nobody came for it in time",
}
"""How a workspace ended, by the code of the reason."""


def has_ended(transition: Transition, status: BuildStatus, *, deleted: bool) -> bool:
    """Return whether a workspace that was given or reserved is gone, being deleted, or about to be."""
    return deleted or transition is Transition.DELETE or status in (BuildStatus.CANCELING, BuildStatus.CANCELED)


def end_of_wait(requested: RequestedRow) -> End | None:
    """Return the end of a wait that was given up, or whose workspace nobody came for; None for every other request.

    The workspace is not named: it may be somebody else's by now.
    """
    if requested.state not in (RequestState.GIVEN_UP, RequestState.NOT_COLLECTED):
        return None
    return End(workspace="", gone=True, at=requested.ended_at, by=requested.ended_by, reason=requested.state.value)


def is_ready_for_collection(requested: RequestedRow) -> bool:
    """Return whether the workspace of a request is ready, and is the owner's once the request is repeated.

    A local request's is handed over as soon as it is ready, and so is any by a builds worker of release 0.1.
    """
    workspace = requested.workspace
    return (
        requested.state is RequestState.RESERVED
        and requested.principal != LOCAL_PRINCIPAL
        and workspace is not None
        and workspace.transition is Transition.START
        and (workspace.claimed is not None or workspace.status is BuildStatus.SUCCEEDED)
    )


def is_waiting(requested: RequestedRow) -> bool:
    """Return whether somebody may still come for a workspace that is being built or ready."""
    workspace = requested.workspace
    return (
        requested.state is RequestState.RESERVED
        and workspace is not None
        and workspace.claimed is None
        and workspace.transition is Transition.START
        and not workspace.deleted
        and workspace.status in (*_IN_PROGRESS, BuildStatus.SUCCEEDED)
    )


def wait_stage(
    state: RequestState, transition: Transition | None, status: BuildStatus | None, *, handed_over: bool, deleted: bool
) -> WaitStage:
    """Return how a claim stands, whose workspace has this latest build; None: its row is no longer kept."""
    is_open = state is RequestState.RESERVED and not handed_over and not deleted
    is_built = transition is Transition.START and status in _IN_PROGRESS
    return WaitStage.BEING_BUILT if is_open and is_built else WaitStage.SETTLED


def end_of_time(claimed: ClaimedRow, now: datetime) -> End | None:
    """Return the end of a workspace that is past its `claimed_ttl`; None before. The next sweep begins its deletion."""
    if claimed.claimed_until is None or claimed.claimed_until >= now:
        return None
    return End(workspace=claimed.name, gone=False, at=claimed.claimed_until, by=RECONCILER, reason="claimed_ttl")


def request_ended(request_id: str, workspace_id: str, end: End) -> RequestEndedError:
    """Make the error for a repeated request whose workspace has ended. Another one is never given in its place."""
    how = _ENDS.get(end.reason, "it was deleted by {by}" if end.by else "it was deleted").format(by=end.by)
    when = f" at {end.at:%Y-%m-%d %H:%M:%S} UTC" if end.at else ""
    name = f"the workspace {end.workspace} of request {request_id}" if end.workspace else f"request {request_id}"
    state, is_now = ("ended", "is gone") if end.gone else ("ending", "is being deleted")
    if not end.workspace:
        is_now = "has ended"
    return RequestEndedError(
        f"{name} {is_now}: {how}{when}",
        state,
        end.workspace,
        workspace_id,
        end.at.isoformat() if end.at else "",
        end.by,
        end.reason,
    )
