"""The state of a workspace, in Python and in SQL."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, case, or_

from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, BuildStatus, Transition, WorkspaceState
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IN_PROGRESS, constant

MARK_REASON = "claimed"
"""The reason of a claimed workspace whose recipe has no hook: only the claim marker is missing, which nobody awaits."""


def is_usable(status: BuildStatus, reason: str) -> bool:
    """Return whether the owner of a claimed workspace can use it: it is personalised, or there is no hook to run."""
    return status is BuildStatus.SUCCEEDED or reason == MARK_REASON


def is_usable_sql() -> ColumnElement[bool]:
    """Build the condition of `is_usable`."""
    return or_(m.Workspace.status == constant(BuildStatus.SUCCEEDED), m.Workspace.reason == constant(MARK_REASON))


def workspace_state(
    owner: str, transition: Transition, status: BuildStatus, reason: str, *, is_ready: bool
) -> WorkspaceState:
    """Return the state of a workspace that is not deleted.

    Args:
        owner: Its owner.
        transition: The transition of its latest build.
        status: The status of its latest build.
        reason: The workspace's reason.
        is_ready: Its readiness probe has passed once.
    """
    if transition is Transition.DELETE:
        return WorkspaceState.DELETE_FAILED if status is BuildStatus.FAILED else WorkspaceState.DELETING
    if transition is Transition.STOP:
        return WorkspaceState.STOPPED if status is BuildStatus.SUCCEEDED else WorkspaceState.STOPPING
    if owner != PREBUILDS_OWNER and is_ready:
        return WorkspaceState.USABLE if is_usable(status, reason) else WorkspaceState.PERSONALISING
    match status:
        case BuildStatus.SUCCEEDED:
            return WorkspaceState.READY if is_ready else WorkspaceState.RUNNING
        case BuildStatus.PENDING | BuildStatus.RUNNING:
            return WorkspaceState.STARTING
        case BuildStatus.CANCELING:
            return WorkspaceState.CANCELING
        case BuildStatus.CANCELED:
            return WorkspaceState.CANCELED
        case BuildStatus.FAILED:
            return WorkspaceState.FAILED


def workspace_state_sql() -> ColumnElement[str]:
    """Build the expression of `workspace_state`, so that a query can filter by state."""
    is_ready = m.Workspace.ready_at.is_not(None)
    return case(
        (
            m.Workspace.transition == constant(Transition.DELETE),
            case(
                (
                    m.Workspace.status == constant(BuildStatus.FAILED),
                    constant(WorkspaceState.DELETE_FAILED),
                ),
                else_=constant(WorkspaceState.DELETING),
            ),
        ),
        (
            m.Workspace.transition == constant(Transition.STOP),
            case(
                (m.Workspace.status == constant(BuildStatus.SUCCEEDED), constant(WorkspaceState.STOPPED)),
                else_=constant(WorkspaceState.STOPPING),
            ),
        ),
        (
            and_(m.Workspace.owner != constant(PREBUILDS_OWNER), is_ready),
            case(
                (is_usable_sql(), constant(WorkspaceState.USABLE)),
                else_=constant(WorkspaceState.PERSONALISING),
            ),
        ),
        (
            m.Workspace.status == constant(BuildStatus.SUCCEEDED),
            case((is_ready, constant(WorkspaceState.READY)), else_=constant(WorkspaceState.RUNNING)),
        ),
        (IN_PROGRESS, constant(WorkspaceState.STARTING)),
        (m.Workspace.status == constant(BuildStatus.CANCELING), constant(WorkspaceState.CANCELING)),
        (m.Workspace.status == constant(BuildStatus.CANCELED), constant(WorkspaceState.CANCELED)),
        else_=constant(WorkspaceState.FAILED),
    )
