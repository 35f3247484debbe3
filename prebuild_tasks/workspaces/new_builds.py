"""Pending builds: their type, and how they are inserted."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert

from prebuild_tasks.model.vocabulary import BuildPriority, BuildStatus, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.rules import work_of

# RETURNING makes SQLAlchemy insert all rows in one statement; without it, the driver executes one statement a row.
_MANY_BUILDS = insert(m.Build).returning(m.Build.id)


@dataclass(frozen=True, slots=True)
class NewBuild:
    """A pending build that has no message yet."""

    id: str
    queue: str
    """The host whose queue it is in; empty: the shared queue."""
    work: str = ""
    """What it does to which workspace, for people; empty if that was not read."""


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

    @classmethod
    def of(cls, rows: Iterable[Row[*tuple[Any, ...]]]) -> list[BuildOrigin]:
        """Make one of each row with ORIGIN_COLUMNS, and possibly more."""
        return [cls(row.id, row.build_number, row.organization_id, row.preset_id, row.name, row.host) for row in rows]


ORIGIN_COLUMNS = (
    m.Workspace.id,
    m.Workspace.build_number,
    m.Workspace.organization_id,
    m.Workspace.preset_id,
    m.Workspace.name,
    m.Workspace.host,
)
"""The columns of a BuildOrigin, by the names of its fields."""


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
