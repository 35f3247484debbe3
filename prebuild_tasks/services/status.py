"""What people look at: pools, workspaces, builds and their output. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, or_, select

from prebuild_tasks.config import Settings
from prebuild_tasks.core.actions import quantities
from prebuild_tasks.core.backoff import backoff_until
from prebuild_tasks.core.model import CLAIM_REASON, PREBUILDS_OWNER, BuildStatus, PresetStatus, Transition
from prebuild_tasks.core.schedule import next_change
from prebuild_tasks.core.state import compute_state
from prebuild_tasks.errors import NotFoundError, RefusedError
from prebuild_tasks.services.handover import is_usable
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.reads import TEMPLATE_OF_VERSION, VERSION_OF_PRESET, PoolRow, preset_ref, read_pools


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """One line of `prebuild status`."""

    preset: str
    desired: int
    eligible: int
    starting: int
    deleting: int
    failed: int
    next_action: str
    last_error: str

    @property
    def full(self) -> bool:
        return self.eligible >= self.desired


def pools(database: Database, settings: Settings) -> list[PoolStatus]:
    """Every pool, by name."""
    with database.snapshot() as connection:
        now, rows = read_pools(database, connection, settings.backoff_lookback)
    return [_status(row, settings, now) for row in rows]


def _status(row: PoolRow, settings: Settings, now: datetime) -> PoolStatus:
    state = compute_state(row.preset, row.counts, now)
    return PoolStatus(
        preset=row.ref,
        desired=state.desired,
        eligible=state.eligible,
        starting=state.starting,
        deleting=state.deleting,
        failed=row.failed,
        next_action=_next_action(row, settings, now),
        last_error=row.status_reason or row.last_error,
    )


def _next_action(row: PoolRow, settings: Settings, now: datetime) -> str:
    if row.paused:
        until = row.paused.get("until")
        return f"paused by {row.paused.get('by', 'somebody')}" + (f" until {until}" if until else "")
    state = compute_state(row.preset, row.counts, now)
    amount = quantities(row.preset, row.counts, state)
    parts = [f"delete {amount.delete}"] if amount.delete else []
    parts += [f"cancel {amount.cancel}"] if amount.cancel else []
    if amount.create:
        until = backoff_until(row.failures, timedelta(seconds=settings.backoff_interval), now)
        if row.status is not PresetStatus.HEALTHY:
            parts.append(row.status.value.replace("_", " "))
        elif until:
            parts.append(f"back off until {until.astimezone():%H:%M:%S}")
        else:
            parts.append(f"create {amount.create}")
    elif state.starting:
        parts.append(f"wait for {state.starting}")
    if not parts and row.preset.active and (change := next_change(row.preset, now)):
        parts.append(f"desired {change[1]} at {change[0].astimezone():%a %H:%M}")
    return ", ".join(parts)


_WORKSPACE_COLUMNS = (
    m.Workspace.id,
    m.Workspace.name,
    m.Workspace.owner,
    m.Workspace.transition,
    m.Workspace.status,
    m.Workspace.ready_at,
    m.Workspace.created_at,
    m.Workspace.claimed_at,
    m.Workspace.claimed_until,
    m.Workspace.url,
    m.Workspace.directory,
    m.Workspace.resource_id,
    m.Workspace.host,
    m.Workspace.reason,
    m.Template.name.label("template_name"),
    m.Preset.name.label("preset_name"),
    m.TemplateVersion.name.label("version_name"),
    (m.Template.active_version_id == m.TemplateVersion.id).label("is_active"),
)


def workspaces(
    database: Database, *, owner: str = "", preset: str = "", state: str = "", limit: int = 1000
) -> list[dict[str, Any]]:
    """Workspaces that are not deleted, prebuilds last, oldest first."""
    query = (
        select(*_WORKSPACE_COLUMNS)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Workspace.deleted_at.is_(None))
        .order_by(m.Workspace.owner == PREBUILDS_OWNER, m.Workspace.created_at, m.Workspace.id)
        .limit(limit)
    )
    if owner:
        query = query.where(m.Workspace.owner == owner)
    with database.read() as connection:
        rows = [_workspace(row) for row in connection.execute(query)]
    return [row for row in rows if (not preset or row["preset"] == preset) and (not state or row["state"] == state)]


def workspace_state(row: Any) -> str:
    """One word for where a workspace is: starting, ready, usable, personalising, deleting, failed, …"""
    if row.transition is Transition.DELETE:
        return "delete_failed" if row.status is BuildStatus.FAILED else "deleting"
    if row.transition is Transition.STOP:
        return "stopped" if row.status is BuildStatus.SUCCEEDED else "stopping"
    if row.owner != PREBUILDS_OWNER and row.ready_at is not None:
        return "usable" if is_usable(row.status, row.reason) else "personalising"
    if row.status is BuildStatus.SUCCEEDED:
        return "ready" if row.ready_at else "running"
    return "starting" if row.status in (BuildStatus.PENDING, BuildStatus.RUNNING) else row.status.value


def _workspace(row: Any) -> dict[str, Any]:
    return {
        "workspace": row.name,
        "id": row.id,
        "owner": row.owner,
        "preset": preset_ref(row.template_name, row.preset_name, row.version_name, active=bool(row.is_active)),
        "state": workspace_state(row),
        "url": row.url,
        "directory": row.directory,
        "resource_id": row.resource_id,
        "host": row.host,
        "created_at": row.created_at.isoformat(),
        "claimed_at": row.claimed_at.isoformat() if row.claimed_at else None,
        "claimed_until": row.claimed_until.isoformat() if row.claimed_until else None,
        "reason": row.reason,
    }


def find_workspace(connection: Connection, name: str) -> Any:
    """The workspace meant by an id, `owner/name` or a name. Raises NotFoundError, RefusedError if several."""
    owner, _, short = name.rpartition("/")
    query = select(m.Workspace).where(m.Workspace.deleted_at.is_(None))
    if len(name) == 36 and name.count("-") == 4:
        query = query.where(m.Workspace.id == name)
    else:
        query = query.where(m.Workspace.name == short)
        query = query.where(m.Workspace.owner == owner) if owner else query
    rows = connection.execute(query).all()
    if not rows:
        raise NotFoundError(f"there is no workspace {name}", hint="see: prebuild workspaces")
    if len(rows) > 1:
        several = ", ".join(f"{row.owner}/{row.name}" for row in rows)
        raise RefusedError(f"{name} could be several workspaces", hint=f"say which: {several}")
    return rows[0]


def builds(
    database: Database, *, status: str = "", preset_id: int | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """Builds, newest first."""
    query = (
        select(
            m.Build.id,
            m.Build.transition,
            m.Build.status,
            m.Build.reason,
            m.Build.attempt,
            m.Build.created_at,
            m.Build.started_at,
            m.Build.completed_at,
            m.Build.error,
            m.Build.error_code,
            m.Build.initiator,
            m.Workspace.name,
            m.Template.name.label("template_name"),
            m.Preset.name.label("preset_name"),
        )
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .join(m.Preset, m.Preset.id == m.Build.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .order_by(m.Build.created_at.desc(), m.Build.id)
        .limit(limit)
    )
    if status:
        query = query.where(m.Build.status == BuildStatus(status))
    if preset_id is not None:
        query = query.where(m.Build.preset_id == preset_id)
    with database.read() as connection:
        rows = connection.execute(query).all()
    return [
        {
            "build": row.id,
            "workspace": row.name,
            "preset": f"{row.template_name}/{row.preset_name}",
            "transition": "claim" if row.reason == CLAIM_REASON else row.transition.value,
            "status": row.status.value,
            "reason": row.reason,
            "initiator": row.initiator,
            "attempt": row.attempt,
            "created_at": row.created_at.isoformat(),
            "seconds": (row.completed_at - row.started_at).total_seconds()
            if row.completed_at and row.started_at
            else None,
            "error_code": row.error_code,
            "error": row.error,
        }
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class LogPage:
    """Output of a build after a certain piece; `ended` when no more will come."""

    text: str
    cursor: tuple[int, int]
    ended: bool


def build_log(database: Database, name: str, after: tuple[int, int] = (0, 0)) -> LogPage:
    """The output of the build (or of the newest build of the workspace) meant by an id, its beginning, or a name.

    Raises NotFoundError.
    """
    with database.read() as connection:
        build = _find_build(connection, name)
        table = m.BuildLog
        rows: Sequence[Any] = connection.execute(
            select(table.attempt, table.seq, table.text)
            .where(
                table.build_id == build.id,
                or_(table.attempt > after[0], (table.attempt == after[0]) & (table.seq > after[1])),
            )
            .order_by(table.attempt, table.seq)
        ).all()
    cursor = (rows[-1].attempt, rows[-1].seq) if rows else after
    return LogPage("".join(row.text for row in rows), cursor, build.status.final)


def _find_build(connection: Connection, name: str) -> Any:
    columns = select(m.Build.id, m.Build.status).join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
    newest = columns.order_by(m.Build.created_at.desc(), m.Build.number.desc()).limit(1)
    wanted = name.replace("-", "").lower()
    if len(wanted) == 32 and set(wanted) <= set("0123456789abcdef"):
        found = connection.execute(columns.where(m.Build.id == name.lower())).one_or_none()
    else:
        owner, _, short = name.rpartition("/")
        query = newest.where(m.Workspace.name == short)
        found = connection.execute(query.where(m.Workspace.owner == owner) if owner else query).one_or_none()
        if found is None and len(wanted) >= 6:
            text = func.replace(func.cast(m.Build.id, m.BuildLog.text.type), "-", "")
            found = connection.execute(newest.where(text.startswith(wanted, autoescape=True))).one_or_none()
    if found is None:
        raise NotFoundError(f"there is no build {name}", hint="see: prebuild builds")
    return found
