"""Read the versions of a pool, which replace each other gradually."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import BindParameter, ColumnElement, Connection, and_, bindparam, exists, func, or_, select
from sqlalchemy.orm import aliased

from prebuild_tasks.reconcile.rules.model import RunningPrebuild
from prebuild_tasks.reconcile.rules.rollout import (
    ALONE,
    OtherVersions,
    PoolVersion,
    Rolling,
    Successor,
    is_replacing,
    other_versions,
)
from prebuild_tasks.reconcile.rules.state import desired_now
from prebuild_tasks.reconcile.store.declared import read_declared
from prebuild_tasks.reconcile.store.expiry import is_expired_sql, is_second_choice_sql
from prebuild_tasks.reconcile.store.preset_view import PresetView
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import (
    IS_CLAIMABLE,
    IS_LIVE_PREBUILD,
    IS_READY,
    IS_RUNNING,
    ROLLING,
    TEMPLATE_OF_VERSION,
    VERSION_OF_PRESET,
    is_active_sql,
)
from prebuild_tasks.schema.rules import is_active


def read_other_versions(connection: Connection, view: PresetView) -> OtherVersions:
    """Read the other versions of a pool, as far as a turn depends on them.

    This takes one statement for an active version that replaces gradually, up to three for an older version that holds
    prebuilds, and none for others.
    """
    if is_active(view.snapshot.preset):
        return _older(connection, view) if view.rolling else ALONE
    return _successor(connection, view) if view.snapshot.running else ALONE


def _older(connection: Connection, view: PresetView) -> OtherVersions:
    """Read the prebuilds of versions that are older than an active one."""
    query = select(
        m.Workspace.preset_id, func.count().filter(is_second_choice_sql(view.now)).label("second_choices")
    ).group_by(m.Workspace.preset_id)
    rows = connection.execute(
        query.join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .where(IS_LIVE_PREBUILD, *_same_pool(view), m.Preset.id != view.preset_id)
    ).all()
    return OtherVersions(sum(row.second_choices for row in rows), preset_ids=tuple(row.preset_id for row in rows))


def _successor(connection: Connection, view: PresetView) -> OtherVersions:
    """Read the active version that replaces an older one gradually, if there is one.

    The prebuilds of versions between the two count with the successor's: they are better second choices than these.
    """
    declared = read_declared(connection, *_same_pool(view))
    active = next((item for item in declared if is_active(item.preset) and item.replace_strategy == ROLLING), None)
    if active is None:
        return ALONE
    rows = connection.execute(
        select(
            m.Workspace.preset_id,
            func.count().filter(IS_READY, ~is_expired_sql(view.now)).label("eligible"),
            func.count().filter(is_second_choice_sql(view.now)).label("second_choices"),
        )
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(IS_LIVE_PREBUILD, m.Workspace.preset_id.in_([item.preset_id for item in declared]))
        .group_by(m.Workspace.preset_id)
    )
    eligible = 0
    older: dict[int, int] = {}
    for row in rows:
        if row.preset_id == active.preset_id:
            eligible = row.eligible
        else:
            older[row.preset_id] = row.second_choices
    successor = Successor.of(view.preset_id, desired_now(active.preset, view.now), eligible, older)
    return OtherVersions(successor=successor, preset_ids=(active.preset_id,))


def second_choices(connection: Connection, preset_ids: Sequence[int]) -> dict[int, list[int]]:
    """Return the presets in which claims may find a second choice, newest first: the preset itself and older versions.

    By preset, for those of `preset_ids` that are active and replace gradually. One query.
    """
    other, other_version = aliased(m.Preset), aliased(m.TemplateVersion)
    ready = select(m.Workspace.preset_id).where(IS_CLAIMABLE, m.Workspace.preset_id == other.id)
    of_pool = and_(other.template_version_id == other_version.id, other.name == m.Preset.name, ready.exists())
    query = (
        select(m.Preset.id.label("base_id"), other.id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .join(other_version, other_version.template_id == m.Template.id)
        .outerjoin(other, of_pool)
        .where(m.Preset.id.in_(preset_ids), m.Preset.replace_strategy == ROLLING, is_active_sql())
        .order_by(other.id != m.Preset.id, other.id.desc())
    )
    choices: dict[int, list[int]] = {}
    for row in connection.execute(query):
        of_base = choices.setdefault(row.base_id, [])
        if row.id is not None:
            of_base.append(row.id)
    return choices


def read_rolling(connection: Connection) -> dict[str, Rolling]:
    """Read how each active preset that replaces gradually does so, by preset. One statement."""
    query = (
        select(m.Preset.id, m.Preset.max_surge, m.Preset.ready_timeout_s)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Preset.replace_strategy == ROLLING, is_active_sql())
    )
    return {
        str(row.id): Rolling(row.max_surge, timedelta(seconds=row.ready_timeout_s)) for row in connection.execute(query)
    }


def with_other_versions(
    connection: Connection, pools: Collection[Sequence[PoolVersion]], now: datetime
) -> dict[int, tuple[PoolVersion, OtherVersions]]:
    """Return every version of these pools with its other versions, by preset.

    The prebuilds of pools that are being replaced gradually are read in one statement; without such pools in none.
    """
    by_preset = {int(item.preset.id): (item, ALONE) for versions in pools for item in versions}
    replacing = [versions for versions in pools if is_replacing(versions)]
    preset_ids = [int(item.preset.id) for versions in replacing for item in versions]
    running = read_running(connection, preset_ids) if preset_ids else {}
    for versions in replacing:
        by_rows = [item.with_rows(running.get(int(item.preset.id), ()), now) for item in versions]
        others = other_versions(by_rows, now)
        by_preset.update({int(item.preset.id): (item, others[item.preset.id]) for item in by_rows})
    return by_preset


def read_versions(connection: Connection, preset_id: int) -> list[int]:
    """Return a preset, and those of its other versions that are active or still have prebuilds. One statement."""
    named, version = aliased(m.Preset), aliased(m.TemplateVersion)
    has_prebuilds = exists().where(m.Workspace.preset_id == m.Preset.id, IS_LIVE_PREBUILD)
    query = (
        select(m.Preset.id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .join(version, version.template_id == m.Template.id)
        .join(named, (named.template_version_id == version.id) & (named.name == m.Preset.name))
        .where(named.id == preset_id, or_(m.Preset.id == preset_id, is_active_sql(), has_prebuilds))
    )
    return list(connection.execute(query).scalars())


def read_running(connection: Connection, preset_ids: Sequence[int]) -> dict[int, list[RunningPrebuild]]:
    """Read the running prebuilds of any number of presets, by preset. One statement."""
    # The ids are written into the statement, because databases limit the number of parameters.
    ids: BindParameter[int] = bindparam("ids", list(preset_ids), expanding=True, literal_execute=True)
    query = select(m.Workspace.preset_id, m.Workspace.id, m.Workspace.created_at, m.Workspace.ready_at)
    running: dict[int, list[RunningPrebuild]] = defaultdict(list)
    for row in connection.execute(query.where(IS_LIVE_PREBUILD, IS_RUNNING, m.Workspace.preset_id.in_(ids))):
        running[row.preset_id].append(RunningPrebuild(row.id, row.created_at, row.ready_at is not None))
    return running


def _same_pool(view: PresetView) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return m.TemplateVersion.template_id == view.template_id, m.Preset.name == view.name
