"""The build's row: taken, kept alive, ended. Each by compare-and-set; the row count says whether it was still ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, and_, func, insert, select, update

from prebuild_tasks.builds.types import Beat, LogChunk, LostBuild, NextBuild, StoredParameter, TakenBuild
from prebuild_tasks.db.base import ERROR_LENGTH
from prebuild_tasks.model.vocabulary import ACTIVE_STATUSES, BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, USES_ACTIVE_VERSION, VERSION_OF_PRESET, is_due_sql
from prebuild_tasks.schema.row_locks import skip_locked

_UUID_LENGTH = 36


def next_in_queue(
    connection: Connection, build_id: str, now: datetime, *, only: bool = False, untried: bool = False
) -> NextBuild | None:
    """The most urgent pending build of the named build's queue, locked; the named one among equals, or `only` it.

    `untried`: of those that have lost no worker yet.

    A message is a token: it stands for one build's worth of work, not for a certain build. Exactly the row that will be
    taken is locked: whoever locked one and took another would wait in a circle with his neighbour.
    """
    if len(build_id) != _UUID_LENGTH or build_id.strip("0123456789abcdef-"):
        return None  # nobody of ours sent this, and PostgreSQL would refuse to compare it
    queue = connection.execute(select(m.Build.queue).where(m.Build.id == build_id)).scalar_one_or_none() or ""
    query = (
        select(m.Build.id, m.Build.attempt)
        .where(
            m.Build.status == BuildStatus.PENDING,
            m.Build.id == build_id if only else m.Build.queue == queue,
            *([m.Build.attempt == 0] if untried else []),
            is_due_sql(now),
        )
        .order_by(m.Build.priority, m.Build.id != build_id, m.Build.created_at, m.Build.id)
        .limit(1)
    )
    row = connection.execute(skip_locked(query)).one_or_none()
    return NextBuild(row.id, row.attempt) if row else None


def take(connection: Connection, build_id: str, runner: str, host: str, now: datetime) -> bool:
    """pending -> running, with the next attempt number. `host` pins a local workspace to this machine."""
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
    """The name of the provisioner a build needs."""
    return connection.execute(
        select(m.TemplateVersion.provisioner)
        .join(m.Preset, m.Preset.template_version_id == m.TemplateVersion.id)
        .join(m.Build, m.Build.preset_id == m.Preset.id)
        .where(m.Build.id == build_id)
    ).scalar_one()


def initiator_of(connection: Connection, build_id: str) -> str:
    """Who asked for the build; of a canceled one, who asked for its end."""
    return connection.execute(select(m.Build.initiator).where(m.Build.id == build_id)).scalar_one()


def read_taken(connection: Connection, build_id: str, runner: str) -> TakenBuild | None:
    """Everything about a build that was just taken in the name of `runner`; None when it is no longer his."""
    row = connection.execute(
        select(
            m.Build.id,
            m.Build.attempt,
            m.Build.transition,
            m.Build.reason,
            m.Build.created_at,
            m.Workspace.id.label("workspace_id"),
            m.Build.number.label("build_number"),
            m.Workspace.name,
            m.Workspace.owner,
            m.Preset.id.label("preset_id"),
            m.Preset.name.label("preset"),
            m.Template.name.label("template"),
            m.TemplateVersion.name.label("version"),
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
    return TakenBuild(**row._mapping, parameters=[StoredParameter(*item) for item in parameters])  # noqa: SLF001 - SQLAlchemy's documented name


def beat(connection: Connection, runner: str, build_ids: Collection[str], now: datetime) -> list[Beat]:
    """One heart for all builds of a process, in one statement; what does not come back is no longer ours.

    Only for those that really run: one whose taking was committed while the answer got lost must go back.
    """
    rows = connection.execute(
        update(m.Build)
        .where(m.Build.runner == runner, m.Build.id.in_(build_ids), m.Build.status.in_(ACTIVE_STATUSES))
        .values(heartbeat_at=now)
        .returning(m.Build.id, m.Build.attempt, m.Build.status)
    )
    return [Beat(row.id, row.attempt, row.status is BuildStatus.CANCELING) for row in rows]


def finish(
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
    """End the build and write the same on its workspace; answers what the build was until now, running or canceling.

    None when a later attempt owns it: nothing is written. `workspace` holds further columns of the workspace. A
    workspace that failed or is gone gives its slot back.
    """
    for before in ACTIVE_STATUSES:
        # One after the other, not both at once: who asks for its end does so at any moment, and must not be overlooked.
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
    """Write an ended build's outcome on its workspace, if it is still the latest."""
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
    """How many builds wait in each queue that has any; `""`: in the one that every host serves."""
    query = select(m.Build.queue, func.count()).where(m.Build.status == BuildStatus.PENDING).group_by(m.Build.queue)
    return {row[0]: row[1] for row in connection.execute(query)}


def lost_builds(connection: Connection, before: datetime, runner_prefix: str = "") -> list[LostBuild]:
    """Builds whose heart has not beaten since `before` (any time, with `runner_prefix`: the runners known dead)."""
    silent = (
        m.Build.runner.startswith(runner_prefix, autoescape=True) if runner_prefix else m.Build.heartbeat_at < before
    )
    rows = connection.execute(
        select(
            m.Build.id,
            m.Build.attempt,
            m.Build.status,
            m.Build.transition,
            m.Build.runner,
            m.Build.heartbeat_at,
            m.Build.workspace_id,
            m.Build.number,
            m.Build.preset_id,
            m.Build.created_at,
            m.Workspace.host,
            m.Workspace.owner,
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
    """running or canceling -> pending (to be tried again) or an end, if its heart has still not beaten."""
    values: dict[str, object] = {"status": status, "runner": ""}
    if status is BuildStatus.PENDING:
        values |= {"published_at": None, "publications": 0, "queue": row.host}
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
