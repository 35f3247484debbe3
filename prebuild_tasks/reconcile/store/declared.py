"""Presets as declared, without their prebuilds, as the core takes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, literal_column, or_, select

from prebuild_tasks.db.base import Json
from prebuild_tasks.model.vocabulary import Preset, PresetStatus, Schedule
from prebuild_tasks.reconcile.rules.model import Counts, PresetCounts, RecentFailures
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, USES_ACTIVE_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.lookup import preset_ref
from prebuild_tasks.schema.pauses import PAUSED_KEY


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


_NONE: ColumnElement[Any] = literal_column("'[]'")
HAS_FALLEN_ILL = func.nullif(m.Preset.recent_unhealthy, _NONE).is_not(None)
"""Prebuilds of the pool had to be taken out of late."""
_COUNTED = (
    # What a Preset consists of, in its order.
    m.Preset.id,
    m.Preset.desired,
    USES_ACTIVE_VERSION.label("using_active_version"),
    or_(m.Template.deleted_at.is_not(None), m.Preset.removed_at.is_not(None)).label("deleted"),
    m.Template.deprecated,
    m.Preset.ttl_s,
    m.Preset.last_invalidated_at,
    m.Preset.timezone,
    # And what the tick asks beside it. A list without elements is no list: nothing to read where nothing failed.
    func.nullif(m.Preset.recent_failures, _NONE, type_=Json).label("recent_failures"),
    func.nullif(m.Preset.recent_unhealthy, _NONE, type_=Json).label("recent_unhealthy"),
    (m.Preset.status != PresetStatus.HEALTHY).label("creation_blocked"),
    m.Preset.last_reconciled_at,
    m.Template.organization_id,
    m.Preset.max_builds_in_flight,
    m.Preset.slow_start,
    m.Template.name.label("template_name"),
    m.Preset.name,
    m.TemplateVersion.name.label("version_name"),
    m.Preset.paused,
)


def counted_query() -> Select[*tuple[Any, ...]]:
    """The columns that `to_counted` takes, of every preset."""
    return select(*_COUNTED).join(*VERSION_OF_PRESET).join(*TEMPLATE_OF_VERSION)


def presets_query() -> Select[*tuple[Any, ...]]:
    """The same and all the rest that is said of a preset."""
    return counted_query().add_columns(
        m.Preset.recipe_digest,
        m.Preset.status,
        m.Preset.failures_in_row,
        m.Preset.replace_strategy,
        m.Preset.max_surge,
        m.Preset.ready_timeout_s,
        m.TemplateVersion.template_id,
    )


def global_pause_column() -> ColumnElement[Any]:
    return select(m.Setting.value).where(m.Setting.key == PAUSED_KEY).scalar_subquery().label("global_pause")


def to_preset(row: Row[*tuple[Any, ...]], schedules: tuple[Schedule, ...]) -> Preset:
    """A row of either query as the core takes it."""
    identity, desired, using_active, deleted, deprecated, ttl, invalidated, timezone = row[:8]
    return Preset(
        str(identity),
        desired,
        using_active,
        deleted,
        deprecated,
        timedelta(seconds=ttl) if ttl else None,
        invalidated,
        timezone,
        schedules,
    )


def to_counted(
    row: Row[*tuple[Any, ...]], schedules: tuple[Schedule, ...], counts: Counts, since: datetime
) -> PresetCounts:
    """A row of either query as the tick sees it; failures before `since` no longer count."""
    # By position and at once: a tick does this for every preset.
    failed, unhealthy, blocked, reconciled_at, organization_id, max_builds_in_flight, slow_start = row[8:15]
    template, name, version = row[15:18]
    return PresetCounts(
        to_preset(row, schedules),
        counts,
        recent_failures(row[1], failed, unhealthy, since),
        blocked,
        reconciled_at,
        organization_id,
        max_builds_in_flight,
        slow_start,
        preset_ref(template, name, version, active=row[2]),
    )


def recent_failures(
    desired: int, failed: Sequence[str] | None, unhealthy: Sequence[str] | None, since: datetime
) -> RecentFailures | None:
    """Failed builds of late, and prebuilds that fell ill beyond one pool's worth: a flapping pool waits, too."""
    if not failed and not unhealthy:
        return None

    def recent(stored: Sequence[str] | None) -> list[datetime]:
        return [instant for text in stored or () if (instant := datetime.fromisoformat(text)) >= since]

    counting = recent(failed) + recent(unhealthy)[max(desired, 1) :]
    return RecentFailures(num_failed=len(counting), last_build_at=max(counting)) if counting else None


def read_schedules(connection: Connection, preset_ids: Select[int]) -> dict[int, tuple[Schedule, ...]]:
    table = m.PresetSchedule
    found: dict[int, list[Schedule]] = defaultdict(list)
    rows = connection.execute(
        select(table.preset_id, table.cron, table.desired)
        .where(table.preset_id.in_(preset_ids))
        .order_by(table.preset_id, table.position)
    ).all()
    for preset_id, cron, desired in rows:
        found[preset_id].append(Schedule(cron, desired))
    return {preset_id: tuple(schedules) for preset_id, schedules in found.items()}
