"""Presets as declared, without their prebuilds, as the core takes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, literal, or_, select

from prebuild_tasks.core.model import (
    Preset,
    RecentFailures,
    Schedule,
)
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage.conditions import (
    PAUSED_KEY,
    TEMPLATE_OF_VERSION,
    VERSION_OF_PRESET,
)


@dataclass(frozen=True, slots=True)
class Declared:
    """One preset as declared, without its prebuilds."""

    preset_id: int
    preset: Preset
    replace_strategy: str


def read_declared(connection: Connection, *conditions: ColumnElement[bool]) -> list[Declared]:
    """Presets as declared that meet conditions on preset, version and template. Two statements."""
    rows = connection.execute(presets_query().where(*conditions)).all()
    schedules = read_schedules(connection, select(m.Preset.id).where(m.Preset.id.in_([row.id for row in rows])))
    return [Declared(row.id, to_preset(row, schedules.get(row.id, ())), row.replace_strategy) for row in rows]


def presets_query() -> Select[*tuple[Any, ...]]:
    return (
        select(
            m.Preset.id,
            m.Preset.name,
            m.Preset.desired,
            m.Preset.timezone,
            m.Preset.ttl_s,
            m.Preset.last_invalidated_at,
            m.Preset.recipe_digest,
            m.Preset.status,
            m.Preset.failures_in_row,
            m.Preset.recent_failures,
            m.Preset.recent_unhealthy,
            m.Preset.paused,
            m.Preset.max_builds_in_flight,
            m.Preset.last_reconciled_at,
            m.Preset.slow_start,
            m.Preset.replace_strategy,
            m.Preset.max_surge,
            m.Preset.ready_timeout_s,
            func.coalesce(m.Template.active_version_id == m.TemplateVersion.id, literal(value=False)).label(
                "using_active_version"
            ),
            or_(m.Template.deleted_at.is_not(None), m.Preset.removed_at.is_not(None)).label("deleted"),
            m.Template.deprecated,
            m.Template.organization_id,
            m.Template.name.label("template_name"),
            m.TemplateVersion.name.label("version_name"),
            m.TemplateVersion.template_id,
        )
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
    )


def global_pause_column() -> ColumnElement[Any]:
    return select(m.Setting.value).where(m.Setting.key == PAUSED_KEY).scalar_subquery().label("global_pause")


def to_preset(row: Row[*tuple[Any, ...]], schedules: tuple[Schedule, ...]) -> Preset:
    return Preset(
        id=str(row.id),
        desired=row.desired,
        using_active_version=bool(row.using_active_version),
        deleted=bool(row.deleted),
        deprecated=row.deprecated,
        ttl=timedelta(seconds=row.ttl_s) if row.ttl_s else None,
        last_invalidated_at=row.last_invalidated_at,
        timezone=row.timezone,
        schedules=schedules,
    )


def to_failures(row: Row[*tuple[Any, ...]], now: datetime, lookback: float) -> RecentFailures | None:
    """Failed builds of late, and prebuilds that fell ill beyond one pool's worth: a flapping pool waits, too."""
    if not row.recent_failures and not row.recent_unhealthy:
        return None
    since = now - timedelta(seconds=lookback)

    def recent(stored: Sequence[str] | None) -> list[datetime]:
        return [instant for text in stored or () if (instant := datetime.fromisoformat(text)) >= since]

    failed = recent(row.recent_failures) + recent(row.recent_unhealthy)[max(row.desired, 1) :]
    return RecentFailures(num_failed=len(failed), last_build_at=max(failed)) if failed else None


def read_schedules(connection: Connection, preset_ids: Select[int]) -> dict[int, tuple[Schedule, ...]]:
    table = m.PresetSchedule
    found: dict[int, list[Schedule]] = defaultdict(list)
    for row in connection.execute(
        select(table.preset_id, table.cron, table.desired)
        .where(table.preset_id.in_(preset_ids))
        .order_by(table.preset_id, table.position)
    ):
        found[row.preset_id].append(Schedule(row.cron, row.desired))
    return {preset_id: tuple(schedules) for preset_id, schedules in found.items()}
