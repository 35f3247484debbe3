"""Pending builds that a runner with room could take now."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, not_, select

from prebuild_tasks.builds.endpoints import is_shared_start_sql
from prebuild_tasks.builds.types import Endpoint, WaitingBuild
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import is_due_sql
from prebuild_tasks.workspaces import work_of


def waiting_builds(
    connection: Connection,
    queues: Collection[str],
    now: datetime,
    limit: int,
    *,
    untried: bool = False,
    avoided: Collection[Endpoint] = (),
) -> list[WaitingBuild]:
    """Read the most urgent pending builds of some queues.

    Args:
        connection: The connection to read with.
        queues: The hosts whose queues to look at; `""` is the shared queue.
        now: The database's time.
        limit: The most to return.
        untried: Only builds that have not lost a worker yet.
        avoided: Leave the shared queue's starts that ask these endpoints to other machines.
    """
    rows = connection.execute(
        select(m.Build.id, m.Build.queue, m.Build.transition, m.Build.reason, m.Workspace.name)
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .where(
            m.Build.status == BuildStatus.PENDING,
            m.Build.queue.in_(queues),
            *([m.Build.attempt == m.Build.holds] if untried else []),
            *([not_(is_shared_start_sql(avoided))] if avoided else []),
            is_due_sql(now),
        )
        .order_by(m.Build.priority, m.Build.created_at, m.Build.id)
        .limit(limit)
    )
    return [WaitingBuild(row.id, row.queue, work_of(row.transition, row.reason, row.name)) for row in rows]
