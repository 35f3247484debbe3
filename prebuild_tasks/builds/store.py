"""Statements that take a build, renew its lease and end it.

`take`, `renew_leases` and `finish` are compare-and-sets: the rows that they change or return tell whether the build was
still pending, or still the runner's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, func, insert, not_, select, update

from prebuild_tasks.builds.endpoints import is_shared_start_sql
from prebuild_tasks.builds.not_ready import NOT_READY_YET, NotReady
from prebuild_tasks.builds.spec import BUILT_NAME, BUILT_OWNER
from prebuild_tasks.builds.types import Endpoint, LogChunk, NextBuild, RenewedLease, StoredParameter, TakenBuild
from prebuild_tasks.db.base import ERROR_LENGTH
from prebuild_tasks.model.names import pools_name
from prebuild_tasks.model.vocabulary import ACTIVE_STATUSES, BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import (
    TEMPLATE_OF_VERSION,
    USES_ACTIVE_VERSION,
    VERSION_OF_PRESET,
    is_due_sql,
)
from prebuild_tasks.schema.row_locks import in_key_order, skip_locked

_UUID_LENGTH = 36


def next_in_queue(
    connection: Connection,
    build_id: str,
    now: datetime,
    *,
    only: bool = False,
    untried: bool = False,
    avoided: Collection[Endpoint] = (),
) -> NextBuild | None:
    """Lock and return the most urgent pending build of the named build's queue.

    A message is a token: it allows a runner to take one build, not a particular one. Only the row that will be taken is
    locked: two runners that each lock one row and then take the other's could deadlock.

    Args:
        connection: The connection to read with.
        build_id: The build that the message names; preferred among equally urgent ones.
        now: The database's time.
        only: Consider only the named build.
        untried: Consider only builds that have not lost a worker yet.
        avoided: Leave the shared queue's starts that ask these endpoints to other machines.
    """
    if len(build_id) != _UUID_LENGTH or build_id.strip("0123456789abcdef-"):
        return None  # the project sends no such id, and PostgreSQL would refuse to compare it
    queue = connection.execute(select(m.Build.queue).where(m.Build.id == build_id)).scalar_one_or_none() or ""
    query = (
        select(m.Build.id, m.Build.attempt, m.Build.holds)
        .where(
            m.Build.status == BuildStatus.PENDING,
            m.Build.id == build_id if only else m.Build.queue == queue,
            *([m.Build.attempt == m.Build.holds] if untried else []),
            *([not_(is_shared_start_sql(avoided))] if avoided else []),
            is_due_sql(now),
        )
        .order_by(m.Build.priority, m.Build.id != build_id, m.Build.created_at, m.Build.id)
        .limit(1)
    )
    row = connection.execute(skip_locked(query)).one_or_none()
    return NextBuild(row.id, row.attempt - row.holds) if row else None


def take(connection: Connection, build_id: str, runner: str, host: str, now: datetime) -> bool:
    """Set a pending build to running, with the next attempt number; return False if it is no longer pending.

    Args:
        connection: The connection to write with.
        build_id: The build.
        runner: The name of the runner that takes it.
        host: The machine to bind the workspace to; empty: none.
        now: The database's time.
    """
    taken = connection.execute(
        update(m.Build)
        .where(m.Build.id == build_id, m.Build.status == BuildStatus.PENDING)
        .values(
            status=BuildStatus.RUNNING,
            attempt=m.Build.attempt + 1,
            runner=runner,
            heartbeat_at=now,
            started_at=now,
            next_attempt_at=None,
            error="",
            error_code="",
        )
        .returning(m.Build.workspace_id, m.Build.number)
    ).one_or_none()
    if taken is None:
        return False
    values: dict[str, object] = {"status": BuildStatus.RUNNING}
    if host:
        values["host"] = host
    connection.execute(
        update(m.Workspace)
        .where(m.Workspace.id == taken.workspace_id, m.Workspace.build_number == taken.number)
        .values(values)
    )
    return True


def provisioner_of(connection: Connection, build_id: str) -> str:
    """Return the name of the provisioner that a build needs."""
    return connection.execute(
        select(m.TemplateVersion.provisioner)
        .join(m.Preset, m.Preset.template_version_id == m.TemplateVersion.id)
        .join(m.Build, m.Build.preset_id == m.Preset.id)
        .where(m.Build.id == build_id)
    ).scalar_one()


def initiator_of(connection: Connection, build_id: str) -> str:
    """Return who asked for the build, or, if it was canceled, who canceled it."""
    return connection.execute(select(m.Build.initiator).where(m.Build.id == build_id)).scalar_one()


def read_taken(connection: Connection, build_id: str, runner: str) -> TakenBuild | None:
    """Read a build that was just taken by `runner`; None if it no longer belongs to that runner."""
    row = connection.execute(
        select(
            m.Build.id,
            m.Build.attempt,
            m.Build.holds,
            m.Build.transition,
            m.Build.reason,
            m.Build.created_at,
            m.Workspace.id.label("workspace_id"),
            m.Build.number.label("build_number"),
            BUILT_NAME,
            BUILT_OWNER,
            m.Preset.id.label("preset_id"),
            m.Preset.name.label("preset"),
            m.Template.name.label("template"),
            m.TemplateVersion.name.label("version"),
            m.TemplateVersion.id.label("version_id"),
            USES_ACTIVE_VERSION.label("active"),
            m.TemplateVersion.provisioner,
            m.TemplateVersion.config,
            m.Preset.ready_timeout_s.label("ready_timeout"),
            select(m.Installation.id).scalar_subquery().label("installation"),
        )
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Build.id == build_id, m.Build.runner == runner, m.Build.status.in_(ACTIVE_STATUSES))
    ).one_or_none()
    if row is None:
        return None
    table = m.PresetParameter
    parameters = connection.execute(
        select(table.name, table.value, table.from_env, table.from_file).where(table.preset_id == row.preset_id)
    )
    stored = [StoredParameter(item.name, item.value, item.from_env, item.from_file) for item in parameters]
    values = {**row._mapping, "name": row.name or pools_name(row.workspace_id)}  # noqa: SLF001 - a documented name
    return TakenBuild(**values, parameters=stored)


def renew_leases(connection: Connection, runner: str, build_ids: Collection[str], now: datetime) -> list[RenewedLease]:
    """Renew the leases of a process's builds in one statement.

    A build that is not returned no longer belongs to the runner: it has ended, is pending again, or has another runner.

    Pass only builds that are really running. If the reply to the commit that took a build was lost, nobody runs it: its
    lease must run out, so that it becomes pending again.
    """
    rows = connection.execute(
        update(m.Build)
        .where(
            in_key_order(
                m.Build.id,
                m.Build.runner == runner,
                m.Build.id.in_(build_ids),
                m.Build.status.in_(ACTIVE_STATUSES),
            )
        )
        .values(heartbeat_at=now)
        .returning(m.Build.id, m.Build.attempt, m.Build.status)
    )
    return [RenewedLease(row.id, row.attempt, row.status is BuildStatus.CANCELING) for row in rows]


def write_not_ready(connection: Connection, build: TakenBuild, runner: str, waits: NotReady) -> None:
    """Write what a running start waits for; nothing if the runner no longer has this attempt, or it is being ended."""
    connection.execute(
        update(m.Build)
        .where(
            m.Build.id == build.id,
            m.Build.runner == runner,
            m.Build.attempt == build.attempt,
            m.Build.status == BuildStatus.RUNNING,
        )
        .values(error=waits.stored()[:ERROR_LENGTH], error_code=NOT_READY_YET)
    )


def ready_timeout_of(connection: Connection, preset_id: int) -> float:
    """Read the preset's `ready_timeout` in seconds, as it is declared now."""
    return connection.execute(select(m.Preset.ready_timeout_s).where(m.Preset.id == preset_id)).scalar_one()


def finish(  # many arguments: all values of the build's and the workspace's row
    connection: Connection,
    build: TakenBuild,
    runner: str,
    status: BuildStatus,
    now: datetime,
    *,
    error: str = "",
    error_code: str = "",
    workspace: Mapping[str, object] | None = None,
) -> BuildStatus | None:
    """End the build, and write its outcome to its workspace.

    If the build failed or was canceled, the workspace's slot is freed.

    Args:
        connection: The connection to write with.
        build: The build as it was taken.
        runner: The name in which it was taken.
        status: Its final status.
        now: The database's time.
        error: The error, if it failed or was canceled; also stored as the workspace's reason.
        error_code: The error's code.
        workspace: Further columns of the workspace to write.

    Returns:
        The build's previous status, running or canceling. None, with nothing written, if the runner no longer has this
        attempt: it has ended, is pending again, or a later attempt has begun.
    """
    for before in ACTIVE_STATUSES:
        # One statement per status, because the caller needs the previous one. Running first: if a request to cancel
        # arrives in between, the second statement finds it.
        ended = connection.execute(
            update(m.Build)
            .where(
                m.Build.id == build.id,
                m.Build.runner == runner,
                m.Build.attempt == build.attempt,
                m.Build.status == before,
            )
            .values(status=status, completed_at=now, error=error[:ERROR_LENGTH], error_code=error_code)
        )
        if ended.rowcount == 1:
            write_outcome(connection, build.workspace_id, build.build_number, status, workspace or {}, error=error)
            return before
    return None


def write_outcome(
    connection: Connection,
    workspace_id: str,
    build_number: int,
    status: BuildStatus,
    values: Mapping[str, object],
    *,
    error: str = "",
) -> None:
    """Write an ended build's outcome to its workspace, if it is still the workspace's latest build."""
    freed: dict[str, object] = {} if status is BuildStatus.SUCCEEDED else {"slot": None, "reason": error[:ERROR_LENGTH]}
    connection.execute(
        update(m.Workspace)
        .where(m.Workspace.id == workspace_id, m.Workspace.build_number == build_number)
        .values({"status": status, **freed, **values})
    )


def add_logs(connection: Connection, chunks: Collection[LogChunk], now: datetime) -> None:
    """Append pieces of output."""
    if chunks:
        connection.execute(insert(m.BuildLog), [{**asdict(chunk), "at": now} for chunk in chunks])


def pending_by_queue(connection: Connection) -> dict[str, int]:
    """Return the number of pending builds by the queue's host; `""` is the queue that every host serves."""
    query = (
        select(m.Build.queue, func.count().label("number"))
        .where(m.Build.status == BuildStatus.PENDING)
        .group_by(m.Build.queue)
    )
    return {row.queue: row.number for row in connection.execute(query)}
