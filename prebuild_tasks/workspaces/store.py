"""The rules of `rules.py` in SQL, for queries that filter, count or update by them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Interval, and_, case, func, literal_column, null, or_
from sqlalchemy.dialects.postgresql import JSONB

from prebuild_tasks.model.vocabulary import CLAIM_REASON, PREBUILDS_OWNER, BuildStatus, Transition, WorkspaceState
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IN_PROGRESS, constant
from prebuild_tasks.workspaces.rules import MARK_REASON

_FALSE_VALUES = [literal_column(f"'{value}'::jsonb", JSONB()) for value in ("null", "false", '""', "[]", "{}", "0")]
"""The JSON values that are false in Python."""


def is_awaited_sql() -> ColumnElement[bool]:
    """Build the condition of `is_awaited`."""
    return and_(
        m.Workspace.owner != constant(PREBUILDS_OWNER),
        m.Workspace.deleted_at.is_(None),
        m.Workspace.claimed_at.is_(None),
    )


def is_usable_sql() -> ColumnElement[bool]:
    """Build the condition of `is_usable`."""
    return or_(m.Workspace.status == constant(BuildStatus.SUCCEEDED), m.Workspace.reason == constant(MARK_REASON))


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
            and_(m.Workspace.claimed_at.is_not(None), is_ready),
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


def has_hook_sql() -> ColumnElement[bool]:
    """Build the condition of `has_hook` for the row of a template version. PostgreSQL only."""
    claim = func.jsonb_extract_path(m.TemplateVersion.config, constant("claim"))
    return func.coalesce(claim, _FALSE_VALUES[0]).not_in(_FALSE_VALUES)


def handed_over_sql(
    now: ColumnElement[datetime], claimed_ttl: ColumnElement[float | None], hook: ColumnElement[bool]
) -> dict[str, object]:
    """Build the columns of `handed_over` from expressions. PostgreSQL only."""
    return {
        "claimed_at": now,
        "claimed_until": now
        + func.nullif(claimed_ttl, literal_column("0")) * literal_column("interval '1 second'", Interval()),
        "slot": null(),
        "reason": case((hook, constant(CLAIM_REASON)), else_=constant(MARK_REASON)),
        "status": constant(BuildStatus.PENDING),
    }


def is_pool_start_sql() -> ColumnElement[bool]:
    """Build the condition of `is_pool_start` for the row of a build."""
    return and_(m.Build.transition == Transition.START, m.Build.reason != CLAIM_REASON)
