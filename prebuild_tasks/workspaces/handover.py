"""Hand a built workspace over to its owner: set the end of its time, and personalise it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select, update

from prebuild_tasks.model.vocabulary import CLAIM_REASON, BuildPriority, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_UNCOLLECTED
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.workspaces.follow_ups import NewBuild
from prebuild_tasks.workspaces.new_builds import BuildOrigin, insert_builds, update_workspaces
from prebuild_tasks.workspaces.rules import WAIT_REASON, handed_over, has_hook, is_awaited
from prebuild_tasks.workspaces.store import is_awaited_sql


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
    """Return the person for whom a workspace is being built; empty if it is the pool's, claimed or deleted."""
    query = select(m.Workspace.owner, m.Workspace.claimed_at, m.Workspace.deleted_at)
    row = connection.execute(query.where(m.Workspace.id == workspace_id)).one()
    return row.owner if is_awaited(row.owner, row.claimed_at, row.deleted_at) else ""


def hand_over(connection: Connection, workspace_id: str, *, now: datetime, collected: bool = False) -> list[NewBuild]:
    """Hand a ready workspace over to the person for whom it was built.

    Args:
        connection: The connection to write with.
        workspace_id: The workspace.
        now: The database's time.
        collected: The request was repeated for which it was built.

    Returns:
        The build that personalises the workspace; empty if it was not built for a person, or waits to be collected.
    """
    owner = awaiting_owner(connection, workspace_id)
    if not owner or (not collected and _waits_for_collection(connection, workspace_id)):
        return []
    recipe = connection.execute(
        select(m.TemplateVersion.config, m.Preset.claimed_ttl_s, m.Preset.id)
        .join(m.Preset, m.Preset.template_version_id == m.TemplateVersion.id)
        .join(m.Workspace, m.Workspace.preset_id == m.Preset.id)
        .where(m.Workspace.id == workspace_id)
    ).one()
    origins = update_workspaces(
        connection,
        update(m.Workspace)
        .where(m.Workspace.id == workspace_id, m.Workspace.owner == owner, is_awaited_sql())
        .values(
            **handed_over(now, recipe.claimed_ttl_s, hook=has_hook(recipe.config)),
            build_number=m.Workspace.build_number + 1,
        ),
    )
    if not origins:
        return []
    [origin] = origins
    add_history(
        connection, "claimed", now=now, actor=owner, workspace_ids=[workspace_id], preset_id=recipe.id,
        reason=WAIT_REASON,
    )  # fmt: skip
    return claim_build(connection, origin, now=now, owner=owner)


def _waits_for_collection(connection: Connection, workspace_id: str) -> bool:
    query = select(m.BoundRequest.id).where(m.BoundRequest.workspace_id == workspace_id, IS_UNCOLLECTED)
    return connection.execute(query.limit(1)).one_or_none() is not None
