"""Pending builds: their type, and how they are inserted."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Update, insert

from prebuild_tasks.model.vocabulary import BuildPriority, BuildStatus, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.follow_ups import NewBuild
from prebuild_tasks.workspaces.rules import work_of

# RETURNING makes SQLAlchemy insert all rows in one statement; without it, the driver executes one statement a row.
_MANY_BUILDS = insert(m.Build).returning(m.Build.id)


@dataclass(frozen=True, slots=True)
class BuildOrigin:
    """The columns of a workspace that its next build inherits."""

    id: str
    build_number: int
    """The next build's number."""
    organization_id: int
    preset_id: int
    name: str
    host: str = ""
    """The machine that the workspace is bound to; empty: none."""


def update_workspaces(connection: Connection, change: Update) -> list[BuildOrigin]:
    """Execute an update of workspaces, and return what the next builds of those that it changed inherit."""
    w = m.Workspace
    rows = connection.execute(
        change.returning(w.id, w.build_number, w.organization_id, w.preset_id, w.name, w.host)
    ).all()
    return [
        BuildOrigin(
            id=row.id,
            build_number=row.build_number,
            organization_id=row.organization_id,
            preset_id=row.preset_id,
            name=row.name,
            host=row.host,
        )
        for row in rows
    ]


def insert_builds(  # every argument after the workspaces is a column of the builds
    connection: Connection,
    workspaces: Collection[BuildOrigin],
    *,
    transition: Transition,
    reason: str,
    initiator: str,
    now: datetime,
    priority: int = BuildPriority.DELETE,
    next_attempt_at: datetime | None = None,
) -> list[NewBuild]:
    """Insert a pending build for each workspace, whose row already has the build's number, transition and status."""
    ids = [str(uuid.uuid4()) for _ in workspaces]
    builds = [
        {
            "id": build_id,
            "workspace_id": w.id,
            "organization_id": w.organization_id,
            "preset_id": w.preset_id,
            "number": w.build_number,
            "transition": transition,
            "status": BuildStatus.PENDING,
            "reason": reason,
            "initiator": initiator,
            "priority": priority,
            "queue": w.host,
            "created_at": now,
            "next_attempt_at": next_attempt_at,
        }
        for build_id, w in zip(ids, workspaces, strict=True)
    ]
    if builds:
        connection.execute(_MANY_BUILDS, builds)
    return [
        NewBuild(build_id, w.host, work_of(transition, reason, w.name))
        for build_id, w in zip(ids, workspaces, strict=True)
    ]
