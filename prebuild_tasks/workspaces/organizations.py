"""Let workspaces and their builds follow their template to another organization, whose limits then count them.

`apply` does it after its commit, and the sweep again: a decision that began before the commit creates workspaces for
the former organization.
"""

from __future__ import annotations

from sqlalchemy import Connection, or_, select, update

from prebuild_tasks.db.engine import Database
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.vocabulary import OPEN_STATUSES, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.row_locks import in_key_order, skip_locked

log = get_logger(__name__)

BATCH = 500
"""Workspaces per transaction. A claim passes over those that are locked, so each takes a few milliseconds."""


_OF_TEMPLATE = (
    select(m.Template.organization_id)
    .select_from(m.Preset)
    .join(*VERSION_OF_PRESET)
    .join(*TEMPLATE_OF_VERSION)
    .where(m.Preset.id == m.Build.preset_id)
    .correlate(m.Build)
    .scalar_subquery()
)
"""The organization of a build's template."""
_BUILDS_LEFT = (
    m.Build.transition == Transition.START,
    m.Build.status.in_(OPEN_STATUSES),
    m.Build.organization_id != _OF_TEMPLATE,
)
"""Starts in flight. Ended builds keep the organization that they counted for."""
_WORKSPACES_LEFT = (
    select(m.Workspace.id, m.Template.organization_id)
    .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
    .join(*VERSION_OF_PRESET)
    .join(*TEMPLATE_OF_VERSION)
    .where(m.Workspace.deleted_at.is_(None), m.Workspace.organization_id != m.Template.organization_id)
)


def follow_templates(database: Database) -> int:
    """Move what its template has left behind, claimed workspaces included, and return the number of workspaces.

    What is locked meanwhile is left to the next run. Nothing is deleted because the new organization is full.
    """
    builds_left = select(m.Build.id).where(*_BUILDS_LEFT)
    with database.read() as connection:  # most often there is nothing to do, and nothing is locked then
        if not connection.execute(select(or_(_WORKSPACES_LEFT.exists(), builds_left.exists()))).scalar_one():
            return 0
    with database.write() as connection:
        builds = connection.execute(
            update(m.Build).where(in_key_order(m.Build.id, *_BUILDS_LEFT)).values(organization_id=_OF_TEMPLATE)
        ).rowcount
    moved = 0
    while True:
        with database.write() as connection:
            count = _move_workspaces(connection)
        moved += count
        if count < BATCH:
            break
    log.info("organizations_changed", workspaces=moved, builds=builds)
    return moved


def _move_workspaces(connection: Connection) -> int:
    left = _WORKSPACES_LEFT.order_by(m.Workspace.id).limit(BATCH)
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
