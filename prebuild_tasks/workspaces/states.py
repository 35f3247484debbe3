"""The state of a workspace in one word, and what it takes to be its owner's: in Python and in SQL."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, case, or_

from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, BuildStatus, Transition, WorkspaceState
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IN_PROGRESS, said

MARK_REASON = "claimed"
"""The workspace's reason where its claim has no hook to run: only the durable mark is left, nobody waits for it."""


def is_usable(status: BuildStatus, reason: str) -> bool:
    """Whether a claimed workspace is already its owner's in every respect they can see."""
    return status is BuildStatus.SUCCEEDED or reason == MARK_REASON


def is_usable_sql() -> ColumnElement[bool]:
    """Build the condition of `is_usable`."""
    return or_(m.Workspace.status == said(BuildStatus.SUCCEEDED), m.Workspace.reason == said(MARK_REASON))


def workspace_state(
    owner: str, transition: Transition, status: BuildStatus, reason: str, *, is_ready: bool
) -> WorkspaceState:
    """Return the state of a workspace that is not deleted. `is_ready`: its readiness probe has passed once."""
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
    """Build the column of `workspace_state`, so that a state can be asked for."""
    is_ready = m.Workspace.ready_at.is_not(None)
    return case(
        (
            m.Workspace.transition == said(Transition.DELETE),
            case(
                (m.Workspace.status == said(BuildStatus.FAILED), said(WorkspaceState.DELETE_FAILED)),
                else_=said(WorkspaceState.DELETING),
            ),
        ),
        (
            m.Workspace.transition == said(Transition.STOP),
            case(
                (m.Workspace.status == said(BuildStatus.SUCCEEDED), said(WorkspaceState.STOPPED)),
                else_=said(WorkspaceState.STOPPING),
            ),
        ),
        (
            and_(m.Workspace.owner != said(PREBUILDS_OWNER), is_ready),
            case((is_usable_sql(), said(WorkspaceState.USABLE)), else_=said(WorkspaceState.PERSONALISING)),
        ),
        (
            m.Workspace.status == said(BuildStatus.SUCCEEDED),
            case((is_ready, said(WorkspaceState.READY)), else_=said(WorkspaceState.RUNNING)),
        ),
        (IN_PROGRESS, said(WorkspaceState.STARTING)),
        (m.Workspace.status == said(BuildStatus.CANCELING), said(WorkspaceState.CANCELING)),
        (m.Workspace.status == said(BuildStatus.CANCELED), said(WorkspaceState.CANCELED)),
        else_=said(WorkspaceState.FAILED),
    )
