"""Let workspaces and their builds follow their template to another organization, whose limits then count them.

`apply` does it after its commit, and the sweep again: a decision that began before the commit creates workspaces for
the former organization.
"""

from __future__ import annotations

import structlog
from sqlalchemy import Connection, select, update

from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import OPEN_STATUSES, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.row_locks import in_key_order, skip_locked

log = structlog.get_logger(__name__)

BATCH = 500
"""Workspaces per transaction. A claim passes over those that are locked, so each takes a few milliseconds."""


def follow_templates(database: Database) -> int:
    """Move what its template has left behind, claimed workspaces included, and return the number of workspaces.

    What is locked meanwhile is left to the next run. Nothing is deleted because the new organization is full.
    """
    with database.write() as connection:
        builds = _move_builds(connection)
    moved = 0
    while True:
        with database.write() as connection:
            count = _move_workspaces(connection)
        moved += count
        if count < BATCH:
            break
    if builds or moved:
        log.info("organizations_changed", workspaces=moved, builds=builds)
    return moved


def _move_builds(connection: Connection) -> int:
    """Move the starts in flight. Ended builds keep the organization that they counted for."""
    owner = (
        select(m.Template.organization_id)
        .select_from(m.Preset)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Preset.id == m.Build.preset_id)
        .correlate(m.Build)
        .scalar_subquery()
    )
    left = (
        m.Build.transition == Transition.START,
        m.Build.status.in_(OPEN_STATUSES),
        m.Build.organization_id != owner,
    )
    return connection.execute(
        update(m.Build).where(in_key_order(m.Build.id, *left)).values(organization_id=owner)
    ).rowcount


def _move_workspaces(connection: Connection) -> int:
    left = (
        select(m.Workspace.id, m.Template.organization_id)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Workspace.deleted_at.is_(None), m.Workspace.organization_id != m.Template.organization_id)
        .order_by(m.Workspace.id)
        .limit(BATCH)
    )
    rows = connection.execute(skip_locked(left, of=m.Workspace)).all()
    count = 0
    for organization_id in {row.organization_id for row in rows}:
        ids = [row.id for row in rows if row.organization_id == organization_id]
        count += connection.execute(
            update(m.Workspace)
            .where(m.Workspace.id.in_(ids), m.Workspace.deleted_at.is_(None))
            .values(organization_id=organization_id)
        ).rowcount
    return count
