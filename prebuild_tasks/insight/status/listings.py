"""Listings of workspaces and builds, and the output of builds. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, case, func, or_, select

from prebuild_tasks.builds import failed_builds
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError
from prebuild_tasks.insight.status.rules import ends_soon, waiting_for
from prebuild_tasks.insight.status.views import BuildView, LogPage, WorkspaceView
from prebuild_tasks.model.names import PoolName, PresetRef, as_id
from prebuild_tasks.model.vocabulary import CLAIM_REASON, PREBUILDS_OWNER, BuildStatus, Transition, WorkspaceState
from prebuild_tasks.reconcile import retry_at
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_USED, TEMPLATE_OF_VERSION, VERSION_OF_PRESET, constant
from prebuild_tasks.schema.lookup import REF_COLUMNS, find_workspace, is_named, pool_presets
from prebuild_tasks.workspaces import unhealthy_claim, workspace_state, workspace_state_sql

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
    case((IS_USED, m.ProbeState.failures), else_=0).label("failures"),
    m.ProbeState.message,
    *REF_COLUMNS,
)


def workspaces(
    database: Database, *, owner: str = "", preset: str = "", state: str = "", limit: int | None = None
) -> list[WorkspaceView]:
    """List workspaces that are not deleted.

    Those of people (claimed or being built for them) come before prebuilds, each oldest first. `preset` stands for all
    its versions, unless it names one with `@version` or is an id. Raises NotFoundError for an unknown preset.
    """
    query = (
        _workspaces_query()
        .order_by(m.Workspace.owner == PREBUILDS_OWNER, m.Workspace.created_at, m.Workspace.id)
        .limit(limit)
    )
    if owner:
        query = query.where(m.Workspace.owner == owner)
    if state:
        query = query.where(workspace_state_sql().in_([constant(WorkspaceState(state))]))
    with database.read() as connection:
        if preset:
            query = query.where(m.Workspace.preset_id.in_(pool_presets(connection, preset)))
        return _views(database, connection, query)


def read_workspace(database: Database, name: str) -> WorkspaceView:
    """Return a workspace that is not deleted, by id, `owner/name` or name.

    Raises NotFoundError, or RefusedError if several match.
    """
    with database.read() as connection:
        named = m.Workspace.id == find_workspace(connection, name).id
        if views := _views(database, connection, _workspaces_query().where(named)):
            return views[0]
    raise NotFoundError(f"there is no workspace {name}", remedy=Remedy(RemedyKind.LIST_WORKSPACES))  # deleted just now


def failed_start(database: Database, workspace_id: str) -> str:
    """Return the error of a workspace's last start or claim hook that failed; empty if none did."""
    query = (
        select(m.Build.error)
        .where(
            m.Build.workspace_id == workspace_id,
            m.Build.transition == Transition.START,
            m.Build.status == BuildStatus.FAILED,
        )
        .order_by(m.Build.number.desc())
        .limit(1)
    )
    with database.read() as connection:
        return connection.execute(query).scalar_one_or_none() or ""


def _workspaces_query() -> Select[*tuple[Any, ...]]:
    return (
        select(*_WORKSPACE_COLUMNS)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .outerjoin(m.ProbeState, m.ProbeState.workspace_id == m.Workspace.id)
        .where(m.Workspace.deleted_at.is_(None))
    )


def _views(database: Database, connection: Connection, query: Select[*tuple[Any, ...]]) -> list[WorkspaceView]:
    now = database.now(connection)
    views = [_workspace(row, now) for row in connection.execute(query)]
    if not any(view.state is WorkspaceState.DELETE_FAILED for view in views):
        return views
    retries = _retries(connection)
    return [replace(view, retry_at=retries[view.id]) if view.id in retries else view for view in views]


def _retries(connection: Connection) -> dict[str, datetime]:
    """Return when each failed deletion will be tried again, by workspace id."""
    rows = connection.execute(
        select(m.Workspace.id, m.Build.completed_at, failed_builds().label("failures"))
        .join(m.Build, (m.Build.workspace_id == m.Workspace.id) & (m.Build.number == m.Workspace.build_number))
        .where(
            m.Workspace.deleted_at.is_(None),
            m.Workspace.transition == Transition.DELETE,
            m.Workspace.status == BuildStatus.FAILED,
            m.Build.completed_at.is_not(None),
        )
    )
    return {row.id: retry_at(row.failures, row.completed_at) for row in rows}


def _workspace(row: Row[*tuple[Any, ...]], now: datetime) -> WorkspaceView:
    return WorkspaceView(
        workspace=row.name,
        id=row.id,
        owner=row.owner,
        preset=str(PresetRef.of(row.template_name, row.preset_name, row.version_name, active=row.is_active)),
        state=workspace_state(row.owner, row.transition, row.status, row.reason, is_ready=row.ready_at is not None),
        url=row.url,
        directory=row.directory,
        resource_id=row.resource_id,
        host=row.host,
        created_at=row.created_at,
        claimed_at=row.claimed_at,
        claimed_until=row.claimed_until,
        ends_soon=bool(row.claimed_until and ends_soon(row.claimed_at, row.claimed_until, now)),
        reason=unhealthy_claim(row.failures, row.message) if row.failures else row.reason,
    )


def builds(
    database: Database,
    *,
    status: str = "",
    preset: str = "",
    since: Callable[[datetime], datetime] | None = None,
    limit: int = 50,
) -> list[BuildView]:
    """List builds, newest first.

    `preset` stands for all its versions, unless it names one with `@version` or is an id. `since` is called with the
    database's time, and returns the time from which builds are listed. Raises NotFoundError for an unknown preset.
    """
    query = _builds_query().limit(limit)
    if status:
        query = query.where(m.Build.status == BuildStatus(status))
    with database.read() as connection:
        if preset:
            query = query.where(m.Build.preset_id.in_(pool_presets(connection, preset)))
        if since:
            query = query.where(m.Build.created_at >= since(database.now(connection)))
        now = database.now(connection)
        return [_build(row, now) for row in connection.execute(query)]


def _builds_query() -> Select[*tuple[Any, ...]]:
    return (
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
            m.Preset.ready_timeout_s,
        )
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .join(m.Preset, m.Preset.id == m.Build.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .order_by(m.Build.created_at.desc(), m.Build.id)
    )


def _build(row: Row[*tuple[Any, ...]], now: datetime) -> BuildView:
    waits = waiting_for(row.status, row.error_code, row.error, row.ready_timeout_s, now)
    return BuildView(
        build=row.id,
        workspace=row.name,
        preset=PoolName(row.template_name, row.preset_name),
        transition="claim" if row.reason == CLAIM_REASON else row.transition.value,
        status=row.status,
        reason=row.reason,
        initiator=row.initiator,
        attempt=row.attempt,
        created_at=row.created_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        error_code="" if waits else row.error_code,
        error="" if waits else row.error,
        waits=waits,
    )


def build_log(database: Database, name: str, after: tuple[int, int] = (0, 0)) -> LogPage:
    """Return the output of a build after the position `after`. Raises NotFoundError.

    `name` is a build's id, or at least the first six characters of it; or the name of a workspace, which stands for its
    newest build.
    """
    with database.read() as connection:
        build = _find_build(connection, name)
        table = m.BuildLog
        rows = connection.execute(
            select(table.attempt, table.seq, table.text)
            .where(
                table.build_id == build.id,
                or_(table.attempt > after[0], (table.attempt == after[0]) & (table.seq > after[1])),
            )
            .order_by(table.attempt, table.seq)
        ).all()
        now = database.now(connection)
    waits = waiting_for(build.status, build.error_code, build.error, build.ready_timeout_s, now)
    cursor = (rows[-1].attempt, rows[-1].seq) if rows else after
    return LogPage("".join(row.text for row in rows), cursor, build.status.final, waits)


class _BuildKey(NamedTuple):
    id: str
    status: BuildStatus
    error: str
    error_code: str
    ready_timeout_s: float


def _find_build(connection: Connection, name: str) -> _BuildKey:
    columns = (
        select(m.Build.id, m.Build.status, m.Build.error, m.Build.error_code, m.Preset.ready_timeout_s)
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .join(m.Preset, m.Preset.id == m.Build.preset_id)
    )
    newest = columns.order_by(m.Build.created_at.desc(), m.Build.number.desc()).limit(1)
    wanted = name.replace("-", "").lower()
    if identity := as_id(name):
        build = connection.execute(columns.where(m.Build.id == identity)).one_or_none()
    else:
        build = connection.execute(newest.where(*is_named(name))).one_or_none()
        if build is None and len(wanted) >= 6:
            text = func.replace(func.cast(m.Build.id, m.BuildLog.text.type), "-", "")
            build = connection.execute(newest.where(text.startswith(wanted, autoescape=True))).one_or_none()
    if build is None:
        raise _no_such_build(connection, name)
    return _BuildKey(build.id, build.status, build.error, build.error_code, build.ready_timeout_s)


def _no_such_build(connection: Connection, name: str) -> NotFoundError:
    """Return the error for a name that is neither a build's nor a workspace's; it may be that of a pool."""
    with suppress(InputError, NotFoundError):
        if "/" in name and pool_presets(connection, name):
            remedy = Remedy(RemedyKind.FIND_BUILD_OF_POOL, name)
            return NotFoundError(f"{name} is a pool; only its builds have output", remedy=remedy)
    return NotFoundError(
        f"there is no build or workspace {name}",
        hint="give at least six characters of a build's id",
        remedy=Remedy(RemedyKind.LIST_BUILDS),
    )
