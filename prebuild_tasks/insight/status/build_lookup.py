"""Find a build by what a person calls it."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from prebuild_tasks.access import Reach, sees_preset_sql, sees_workspace_sql
from prebuild_tasks.errors import InputError, NotFoundError
from prebuild_tasks.model.names import as_id
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.lookup import is_named, pool_presets


class BuildKey(NamedTuple):
    """The columns of a build that its log is read by."""

    id: str
    status: BuildStatus
    error: str
    error_code: str
    ready_timeout_s: float


def find_build(connection: Connection, name: str, reach: Reach) -> BuildKey:
    """Find a build by its id, at least six characters of it, or a workspace's name or id. Raises NotFoundError."""
    columns = (
        select(m.Build.id, m.Build.status, m.Build.error, m.Build.error_code, m.Preset.ready_timeout_s)
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .join(m.Preset, m.Preset.id == m.Build.preset_id)
        .where(*sees_workspace_sql(reach))
    )
    newest = columns.order_by(m.Build.created_at.desc(), m.Build.number.desc()).limit(1)
    wanted = name.replace("-", "").lower()
    if identity := as_id(name):
        build = connection.execute(columns.where(m.Build.id == identity)).one_or_none()
        if build is None:
            build = connection.execute(newest.where(m.Workspace.id == identity)).one_or_none()
    else:
        build = connection.execute(newest.where(*is_named(name))).one_or_none()
        if build is None and len(wanted) >= 6:
            text = func.replace(func.cast(m.Build.id, m.BuildLog.text.type), "-", "")
            build = connection.execute(newest.where(text.startswith(wanted, autoescape=True))).one_or_none()
    if build is None:
        raise _no_such_build(connection, name, reach)
    return BuildKey(build.id, build.status, build.error, build.error_code, build.ready_timeout_s)


def _no_such_build(connection: Connection, name: str, reach: Reach) -> NotFoundError:
    """Return the error for a name that is neither a build's nor a workspace's; it may be that of a pool in reach."""
    with suppress(InputError, NotFoundError):
        if "/" in name and pool_presets(connection, name, sees_preset_sql(reach)):
            remedy = Remedy(RemedyKind.FIND_BUILD_OF_POOL, name)
            return NotFoundError(f"{name} is a pool; only its builds have output", remedy=remedy)
    return NotFoundError(
        f"there is no build or workspace {name}",
        hint="give at least six characters of a build's id",
        remedy=Remedy(RemedyKind.LIST_BUILDS),
    )
