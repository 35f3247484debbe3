"""Hand a built workspace over to its owner: set the end of its time, and personalise it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Interval, case, func, literal_column, null, select, update
from sqlalchemy.dialects.postgresql import JSONB

from prebuild_tasks.model.vocabulary import CLAIM_REASON, PREBUILDS_OWNER, BuildPriority, BuildStatus, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import constant
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.workspaces.new_builds import ORIGIN_COLUMNS, BuildOrigin, NewBuild, insert_builds
from prebuild_tasks.workspaces.states import MARK_REASON

WAIT_REASON = "claim_wait"
"""The reason of a workspace that is being built for a person who waits."""


_FALSE_VALUES = [literal_column(f"'{value}'::jsonb", JSONB()) for value in ("null", "false", '""', "[]", "{}", "0")]
"""The JSON values that are false in Python."""


def has_hook(config: Mapping[str, object]) -> bool:
    """Return whether a recipe has a `claim` hook, which personalises a claimed workspace."""
    return bool(config.get("claim"))


def has_hook_sql() -> ColumnElement[bool]:
    """Build the condition of `has_hook` for the row of a template version. PostgreSQL only."""
    claim = func.jsonb_extract_path(m.TemplateVersion.config, constant("claim"))
    return func.coalesce(claim, _FALSE_VALUES[0]).not_in(_FALSE_VALUES)


def handed_over(now: datetime, claimed_ttl: float | None, *, hook: bool) -> dict[str, object]:
    """Return the columns that change when a workspace is handed over.

    Args:
        now: The database's time.
        claimed_ttl: Seconds until the workspace is deleted; None or 0: never.
        hook: Whether the recipe personalises the workspace.
    """
    return {
        "claimed_at": now,
        "claimed_until": now + timedelta(seconds=claimed_ttl) if claimed_ttl else None,
        "slot": None,
        "reason": CLAIM_REASON if hook else MARK_REASON,
        "status": BuildStatus.PENDING,
        "build_number": m.Workspace.build_number + 1,
    }


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
        "build_number": m.Workspace.build_number + literal_column("1"),
    }


def claim_build(connection: Connection, workspace: BuildOrigin, *, now: datetime, owner: str) -> list[NewBuild]:
    """Insert the build that marks a workspace as claimed on its host, and personalises it."""
    return insert_builds(
        connection,
        [workspace],
        transition=Transition.START,
        reason=CLAIM_REASON,
        initiator=owner,
        now=now,
        priority=BuildPriority.PERSON_WAITS,
    )


def awaiting_owner(connection: Connection, workspace_id: str) -> str:
    """Return the person for whom a workspace is being built; empty if it is the pool's, or claimed."""
    row = connection.execute(
        select(m.Workspace.owner, m.Workspace.claimed_at).where(m.Workspace.id == workspace_id)
    ).one()
    return row.owner if row.owner != PREBUILDS_OWNER and row.claimed_at is None else ""


def hand_over(connection: Connection, workspace_id: str, *, now: datetime) -> list[NewBuild]:
    """Hand a ready workspace over to the person for whom it was built.

    Returns:
        The build that personalises the workspace; empty if it was not built for a person.
    """
    owner = awaiting_owner(connection, workspace_id)
    if not owner:
        return []
    recipe = connection.execute(
        select(m.TemplateVersion.config, m.Preset.claimed_ttl_s, m.Preset.id)
        .join(m.Preset, m.Preset.template_version_id == m.TemplateVersion.id)
        .join(m.Workspace, m.Workspace.preset_id == m.Preset.id)
        .where(m.Workspace.id == workspace_id)
    ).one()
    rows = connection.execute(
        update(m.Workspace)
        .where(m.Workspace.id == workspace_id, m.Workspace.owner == owner, m.Workspace.claimed_at.is_(None))
        .values(handed_over(now, recipe.claimed_ttl_s, hook=has_hook(recipe.config)))
        .returning(*ORIGIN_COLUMNS)
    ).all()
    if not rows:
        return []
    [origin] = BuildOrigin.of(rows)
    add_history(
        connection, "claimed", now=now, actor=owner, workspace_ids=[workspace_id], preset_id=recipe.id,
        reason=WAIT_REASON,
    )  # fmt: skip
    return claim_build(connection, origin, now=now, owner=owner)
