"""Presets of one name in several versions of a template: who replaces whom while replacing is rolling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select
from sqlalchemy.orm import aliased

from prebuild_tasks.core.rollout import Successor
from prebuild_tasks.core.schedule import desired_at
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage.conditions import (
    IS_CLAIMABLE,
    IS_LIVE_PREBUILD,
    IS_READY,
    ROLLING,
    TEMPLATE_OF_VERSION,
    VERSION_OF_PRESET,
    expired,
    past_ttl,
)
from prebuild_tasks.storage.declared import read_declared
from prebuild_tasks.storage.reads import PresetView


@dataclass(frozen=True, slots=True)
class Older:
    """What is left of older versions of a pool."""

    preset_ids: Sequence[int]
    """Those that still hold prebuilds, whatever their state."""
    second_choices: int


def read_older(connection: Connection, view: PresetView) -> Older:
    """The older versions' prebuilds of an active pool. One statement."""
    query = select(
        m.Workspace.preset_id, func.count().filter(IS_READY, ~past_ttl(view.now)).label("second_choices")
    ).group_by(m.Workspace.preset_id)
    rows = connection.execute(
        query.join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .where(IS_LIVE_PREBUILD, *_same_pool(view), m.Preset.id != view.preset_id)
    ).all()
    return Older([row.preset_id for row in rows], sum(row.second_choices for row in rows))


def read_successor(connection: Connection, view: PresetView) -> tuple[int, Successor] | None:
    """The active pool that replaces an older version's one by one, with its id; None when nothing does.

    Versions newer than ours, but not active either, count with the successor: their prebuilds are the better second
    choice.
    """
    declared = read_declared(connection, *_same_pool(view))
    active = next((item for item in declared if item.preset.active and item.replace_strategy == ROLLING), None)
    if active is None:
        return None
    rows = connection.execute(
        select(
            m.Workspace.preset_id,
            func.count().filter(IS_READY, ~expired(view.now)).label("eligible"),
            func.count().filter(IS_READY, ~past_ttl(view.now)).label("second_choices"),
        )
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(IS_LIVE_PREBUILD, m.Workspace.preset_id.in_([item.preset_id for item in declared]))
        .group_by(m.Workspace.preset_id)
    )
    eligible = 0
    for row in rows:
        if row.preset_id == active.preset_id:
            eligible += row.eligible
        elif row.preset_id > view.preset_id:
            eligible += row.second_choices
    return active.preset_id, Successor(desired_at(active.preset, view.now), eligible)


def second_choices(connection: Connection, preset_id: int) -> list[int]:
    """Which presets a claim turns to when this one has no eligible prebuild: itself and older ones, newest first.

    Empty unless the preset is active and replaces by and by.
    """
    mine = (
        select(m.Preset.name, m.TemplateVersion.template_id, m.Template.active_version_id, m.TemplateVersion.id)
        .join(*VERSION_OF_PRESET)
        .join(m.Template, m.Template.id == m.TemplateVersion.template_id)
        .where(m.Preset.id == preset_id, m.Preset.replace_strategy == ROLLING)
    )
    row = connection.execute(mine).one_or_none()
    if row is None or row.active_version_id != row.id:
        return []
    ready = select(m.Workspace.preset_id).where(IS_CLAIMABLE, m.Workspace.preset_id == m.Preset.id)
    query = (
        select(m.Preset.id)
        .join(*VERSION_OF_PRESET)
        .where(m.TemplateVersion.template_id == row.template_id, m.Preset.name == row.name, ready.exists())
        .order_by(m.Preset.id != preset_id, m.Preset.id.desc())
    )
    return list(connection.execute(query).scalars())


def successors(connection: Connection) -> dict[str, str]:
    """Every preset, of any version, whose active namesake replaces by and by; and that one, which may be itself."""
    active = aliased(m.Preset)
    version = aliased(m.TemplateVersion)
    query = (
        select(m.Preset.id, active.id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .join(version, version.id == m.Template.active_version_id)
        .join(active, (active.template_version_id == version.id) & (active.name == m.Preset.name))
        .where(active.replace_strategy == ROLLING, active.removed_at.is_(None))
        .where(m.Template.deleted_at.is_(None), m.Template.deprecated.is_(False))
    )
    return {str(preset_id): str(successor_id) for preset_id, successor_id in connection.execute(query)}


def _same_pool(view: PresetView) -> tuple[ColumnElement[bool], Any]:
    return m.TemplateVersion.template_id == view.template_id, m.Preset.name == view.name
