"""Builds that lost their worker: find them, and put them back to pending or end them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, select, update

from prebuild_tasks.builds.store import write_outcome
from prebuild_tasks.builds.types import LostBuild
from prebuild_tasks.model.vocabulary import ACTIVE_STATUSES, BuildStatus
from prebuild_tasks.schema import tables as m


def lost_builds(connection: Connection, before: datetime, runner_prefix: str = "") -> list[LostBuild]:
    """Read the builds whose lease was not renewed since `before`.

    Args:
        connection: The connection to read with.
        before: Leases last renewed before this time have run out.
        runner_prefix: If given, read instead all active builds of the runners whose names begin with it; the caller
            knows that they are dead.
    """
    silent = (
        m.Build.runner.startswith(runner_prefix, autoescape=True) if runner_prefix else m.Build.heartbeat_at < before
    )
    rows = connection.execute(
        select(
            m.Build.id,
            m.Build.attempt,
            m.Build.holds,
            m.Build.status,
            m.Build.transition,
            m.Build.runner,
            m.Build.heartbeat_at,
            m.Build.workspace_id,
            m.Build.number,
            m.Build.preset_id,
            m.Build.created_at,
            m.Workspace.host,
            m.Workspace.name,
            m.Build.initiator,
            m.Build.reason,
        )
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .where(m.Build.status.in_(ACTIVE_STATUSES), silent)
        .order_by(m.Build.id)
    )
    return [LostBuild(**row) for row in rows.mappings()]


def take_back(
    connection: Connection, row: LostBuild, status: BuildStatus, now: datetime, error: str, code: str
) -> bool:
    """Set a lost build back to pending or to a final status; return False if it has changed in the meantime."""
    values: dict[str, object] = {"status": status, "runner": ""}
    if status is BuildStatus.PENDING:
        values |= {"published_at": None, "publications": 0, "queue": row.host, "error": "", "error_code": ""}
    else:
        values |= {"completed_at": now, "error": error, "error_code": code}
    changed = connection.execute(
        update(m.Build)
        .where(
            m.Build.id == row.id,
            m.Build.attempt == row.attempt,
            m.Build.runner == row.runner,
            m.Build.heartbeat_at == row.heartbeat_at,
            m.Build.status == row.status,
        )
        .values(values)
    )
    if changed.rowcount != 1:
        return False
    if status is BuildStatus.PENDING:
        connection.execute(
            update(m.Workspace)
            .where(and_(m.Workspace.id == row.workspace_id, m.Workspace.build_number == row.number))
            .values(status=status)
        )
    else:
        write_outcome(connection, row.workspace_id, row.number, status, {}, error=error)
    return True
