"""Builds that are written and wait to be published."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, insert

from prebuild_tasks.model.vocabulary import CLAIM_REASON, BuildPriority, BuildStatus, Transition
from prebuild_tasks.schema import tables as m

# With RETURNING the rows go in one statement of many values; without, the driver executes one for each.
_MANY_BUILDS = insert(m.Build).returning(m.Build.id)


@dataclass(frozen=True, slots=True)
class NewBuild:
    """A build that was written and waits to be published."""

    id: str
    queue: str
    """The host its queue belongs to; empty: the shared one."""
    work: str = ""
    """What it does and to which workspace, for people; empty where that was not read."""


def work_of(transition: Transition, reason: str, workspace: str) -> str:
    """`start of prebuild-calm-otter`; personalising is a start by its reason."""
    return f"{'claim' if reason == CLAIM_REASON else transition} of {workspace}"


def is_pool_start(transition: Transition, reason: str) -> bool:
    """Return whether a build starts a workspace; a claimed workspace's personalisation is a start, too, but not one."""
    return transition is Transition.START and reason != CLAIM_REASON


def is_pool_start_sql() -> ColumnElement[bool]:
    """Build the condition of `is_pool_start`, of a build's row."""
    return and_(m.Build.transition == Transition.START, m.Build.reason != CLAIM_REASON)


@dataclass(frozen=True, slots=True)
class BuildOrigin:
    """What a build inherits from its workspace."""

    id: str
    build_number: int
    organization_id: int
    preset_id: int
    name: str
    host: str = ""

    @classmethod
    def of(cls, rows: Iterable[Row[*tuple[Any, ...]]]) -> list[BuildOrigin]:
        """Read them from rows with ORIGIN_COLUMNS."""
        return [cls(*row) for row in rows]


ORIGIN_COLUMNS = (
    m.Workspace.id,
    m.Workspace.build_number,
    m.Workspace.organization_id,
    m.Workspace.preset_id,
    m.Workspace.name,
    m.Workspace.host,
)
"""What a BuildOrigin consists of, in its order."""


def insert_builds(
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
    """Insert the pending build that each workspace's row already announces."""
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
