"""The versions of a template. Nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IN_PROGRESS, IS_LIVE_PREBUILD, IS_READY, IS_START, USES_ACTIVE_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """One stored version of a template."""

    version: str
    active: bool
    """Whether its pools are the ones that are filled."""
    created_at: datetime
    provisioner: str
    presets: int
    """How many presets it declares."""
    ready: int
    """Its prebuilds that are ready."""
    starting: int
    claimed: int
    """Its workspaces that belong to people."""
    last_ready_at: datetime | None
    """When one of its workspaces last became ready; None: none did, or those that did were deleted long ago."""
    last_error: str
    """The error of the last start, if it failed; empty: it did not."""


def versions(database: Database, template: str, preset: str = "") -> list[VersionView]:
    """List the versions of a template, newest first. Raises NotFoundError.

    With a preset, a version counts only what belongs to the preset of that name.
    """
    with database.read() as connection:
        rows = connection.execute(_query(template, preset)).all()
    if not rows:
        raise NotFoundError(f"there is no template {template}", remedy=Remedy(RemedyKind.LIST_POOLS))
    return [
        VersionView(
            version=row.name,
            active=row.active,
            created_at=row.created_at,
            provisioner=row.provisioner,
            presets=row.presets or 0,
            ready=row.ready or 0,
            starting=row.starting or 0,
            claimed=row.claimed or 0,
            last_ready_at=row.last_ready_at,
            last_error=row.last_error or "",
        )
        for row in rows
    ]


def _query(template: str, preset: str) -> Select[*tuple[Any, ...]]:
    table, workspace = m.TemplateVersion, m.Workspace
    named = (m.Preset.name == preset,) if preset else ()
    exists = workspace.deleted_at.is_(None)
    counted = (
        select(
            m.Preset.template_version_id,
            func.count().filter(IS_LIVE_PREBUILD, IS_READY).label("ready"),
            func.count().filter(IS_LIVE_PREBUILD, IS_START, IN_PROGRESS).label("starting"),
            func.count().filter(exists, workspace.owner != PREBUILDS_OWNER).label("claimed"),
            func.max(workspace.ready_at).label("last_ready_at"),
        )
        .join(workspace, workspace.preset_id == m.Preset.id)
        .where(*named)
        .group_by(m.Preset.template_version_id)
        .subquery()
    )
    of_presets = (
        select(
            m.Preset.template_version_id,
            func.count().filter(m.Preset.removed_at.is_(None)).label("presets"),
            func.max(m.Preset.last_error).filter(m.Preset.failures_in_row > 0).label("last_error"),
        )
        .where(*named)
        .group_by(m.Preset.template_version_id)
        .subquery()
    )
    return (
        select(
            table.name, table.created_at, table.provisioner, USES_ACTIVE_VERSION.label("active"), counted, of_presets
        )
        .select_from(table)
        .join(m.Template, m.Template.id == table.template_id)
        .outerjoin(counted, counted.c.template_version_id == table.id)
        .outerjoin(of_presets, of_presets.c.template_version_id == table.id)
        .where(m.Template.name == template)
        .order_by(table.id.desc())
    )
