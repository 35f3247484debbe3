"""Presets as declared, without their prebuilds, in the form that the rules take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, or_, select

from prebuild_tasks.db.base import Json
from prebuild_tasks.db.rows import records
from prebuild_tasks.model.names import PoolName, PresetRef
from prebuild_tasks.model.vocabulary import Preset, PresetStatus, Schedule
from prebuild_tasks.reconcile.rules.backoff import recent_failures
from prebuild_tasks.reconcile.rules.model import Counts, PresetCounts
from prebuild_tasks.reconcile.rules.rollout import Rolling
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import ROLLING, TEMPLATE_OF_VERSION, USES_ACTIVE_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.pauses import PAUSED_KEY, StoredPause


@dataclass(frozen=True, slots=True)
class Declared:
    """A preset as declared, without its prebuilds."""

    preset_id: int
    preset: Preset
    pool: PoolName
    template_id: int
    replace_strategy: str
    cost_per_hour: float | None


def read_declared(connection: Connection, *conditions: ColumnElement[bool]) -> list[Declared]:
    """Read the presets that meet conditions on preset, version and template, by id. Two statements."""
    query = presets_query().add_columns(m.Preset.cost_per_hour).where(*conditions).order_by(m.Preset.id)
    rows = connection.execute(query).all()
    schedules = read_schedules(connection, select(m.Preset.id).where(m.Preset.id.in_([row.id for row in rows])))
    return [
        Declared(
            declared.id,
            to_preset(declared, schedules.get(declared.id, ())),
            declared.ref.pool,
            stored.template_id,
            stored.replace_strategy,
            row.cost_per_hour,
        )
        for row, declared, stored in zip(rows, records(DeclaredRow, rows), records(PresetRow, rows), strict=True)
    ]


_NONE: ColumnElement[Any] = literal_column("'[]'")
WAS_UNHEALTHY = func.nullif(m.Preset.recent_unhealthy, _NONE).is_not(None)
"""The condition that unhealthy prebuilds of a preset were removed recently."""
_COUNTED = (
    m.Preset.id,
    m.Preset.desired,
    USES_ACTIVE_VERSION.label("using_active_version"),
    or_(m.Template.deleted_at.is_not(None), m.Preset.removed_at.is_not(None)).label("deleted"),
    m.Template.deprecated,
    m.Preset.ttl_s,
    m.Preset.last_invalidated_at,
    m.Preset.timezone,
    # Empty lists are read as NULL, which spares parsing them where nothing failed.
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
    m.Preset.is_short,
)


class DeclaredRow(NamedTuple):
    """A preset with its template and version. The fields have the names of the columns of `counted_query`."""

    id: int
    desired: int
    using_active_version: bool
    deleted: bool
    """Whether the template was deleted, or the preset removed from it."""
    deprecated: bool
    ttl_s: float | None
    """Seconds."""
    last_invalidated_at: datetime | None
    timezone: str
    recent_failures: Sequence[str] | None
    """The creation times of failed builds, in ISO format; None: there are none."""
    recent_unhealthy: Sequence[str] | None
    """The times at which unhealthy prebuilds were removed, in ISO format; None: there are none."""
    creation_blocked: bool
    last_reconciled_at: datetime | None
    organization_id: int
    max_builds_in_flight: int | None
    slow_start: int | None
    template_name: str
    name: str
    version_name: str
    paused: StoredPause | None
    is_short: bool

    @property
    def ref(self) -> PresetRef:
        """Return the preset's name."""
        return PresetRef.of(self.template_name, self.name, self.version_name, active=self.using_active_version)


class PresetRow(NamedTuple):
    """What only the turn of a preset needs. The fields have the names of columns that `presets_query` adds."""

    recipe_digest: str
    status: PresetStatus
    failures_in_row: int
    replace_strategy: str
    max_surge: int
    ready_timeout_s: float
    """Seconds."""
    template_id: int
    is_limited: bool

    @property
    def rolling(self) -> Rolling | None:
        """The settings of gradual replacement; None: all prebuilds are replaced at once."""
        lead = timedelta(seconds=self.ready_timeout_s)
        return Rolling(self.max_surge, lead) if self.replace_strategy == ROLLING else None


def counted_query() -> Select[*tuple[Any, ...]]:
    """Select the columns of a DeclaredRow for every preset."""
    return select(*_COUNTED).join(*VERSION_OF_PRESET).join(*TEMPLATE_OF_VERSION)


def presets_query() -> Select[*tuple[Any, ...]]:
    """Select the columns of a DeclaredRow and of a PresetRow for every preset."""
    return counted_query().add_columns(
        m.Preset.recipe_digest,
        m.Preset.status,
        m.Preset.failures_in_row,
        m.Preset.replace_strategy,
        m.Preset.max_surge,
        m.Preset.ready_timeout_s,
        m.TemplateVersion.template_id,
        m.Preset.is_limited,
    )


def global_pause_column() -> ColumnElement[Any]:
    return select(m.Setting.value).where(m.Setting.key == PAUSED_KEY).scalar_subquery().label("global_pause")


def to_preset(row: DeclaredRow, schedules: tuple[Schedule, ...]) -> Preset:
    """Make the `Preset` of the rules from a row."""
    return Preset(
        str(row.id),
        row.desired,
        row.using_active_version,
        row.deleted,
        row.deprecated,
        timedelta(seconds=row.ttl_s) if row.ttl_s else None,
        row.last_invalidated_at,
        row.timezone,
        schedules,
    )


def to_counted(row: DeclaredRow, schedules: tuple[Schedule, ...], counts: Counts, since: datetime) -> PresetCounts:
    """Make the `PresetCounts` of the tick from a row. Failures before `since` do not count."""
    return PresetCounts(
        to_preset(row, schedules),
        counts,
        recent_failures(row.desired, row.recent_failures, row.recent_unhealthy, since),
        row.creation_blocked,
        row.last_reconciled_at,
        row.organization_id,
        row.max_builds_in_flight,
        row.slow_start,
        row.ref,
        row.is_short,
    )


def read_schedules(connection: Connection, preset_ids: Select[int]) -> dict[int, tuple[Schedule, ...]]:
    """Read the schedules of these presets, by preset id. One statement."""
    table = m.PresetSchedule
    by_preset: dict[int, list[Schedule]] = defaultdict(list)
    rows = connection.execute(
        select(table.preset_id, table.cron, table.desired)
        .where(table.preset_id.in_(preset_ids))
        .order_by(table.preset_id, table.position)
    ).all()
    for row in rows:
        by_preset[row.preset_id].append(Schedule(row.cron, row.desired))
    return {preset_id: tuple(schedules) for preset_id, schedules in by_preset.items()}
