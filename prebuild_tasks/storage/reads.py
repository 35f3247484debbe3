"""Set-based reads that build the snapshots. A fixed number of statements each, whatever the number of rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, func, literal, or_, select

from prebuild_tasks.core.model import (
    PREBUILDS_OWNER,
    BuildStatus,
    Counts,
    GlobalSnapshot,
    Preset,
    PresetCounts,
    PresetSnapshot,
    PresetStatus,
    RecentFailures,
    RunningPrebuild,
    Schedule,
    Transition,
)
from prebuild_tasks.core.names import parse_preset_ref
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.types import UtcDateTime, age_seconds

PAUSED_KEY = "paused"

VERSION_OF_PRESET = (m.TemplateVersion, m.TemplateVersion.id == m.Preset.template_version_id)
TEMPLATE_OF_VERSION = (m.Template, m.Template.id == m.TemplateVersion.template_id)
"""For `.join(*…)`: every preset belongs to one version of one template."""

IS_LIVE_PREBUILD = and_(m.Workspace.owner == PREBUILDS_OWNER, m.Workspace.deleted_at.is_(None))
IS_START = m.Workspace.transition == Transition.START
IS_RUNNING = and_(IS_START, m.Workspace.status == BuildStatus.SUCCEEDED)
IN_PROGRESS = m.Workspace.status.in_((BuildStatus.PENDING, BuildStatus.RUNNING))
IS_ACTIVE = and_(
    m.Template.active_version_id == m.TemplateVersion.id,
    m.Template.deleted_at.is_(None),
    m.Template.deprecated.is_(False),
    m.Preset.removed_at.is_(None),
)


@dataclass(frozen=True, slots=True)
class PresetView:
    """One preset as its decision sees it: the pure snapshot, and what gates and carries it out."""

    snapshot: PresetSnapshot
    now: datetime
    preset_id: int
    ref: str
    organization_id: int
    recipe_digest: str
    status: PresetStatus
    failures_in_row: int
    slow_start: int | None
    paused: bool
    max_builds_in_flight: int | None
    template_id: int
    name: str
    replace_strategy: str
    max_surge: int
    ready_timeout: float
    held_slots: Mapping[str, int]
    """Slot by workspace, of every live prebuild that holds one."""


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One pool as people look at it."""

    ref: str
    counted: PresetCounts
    failed: int
    """Failed prebuilds kept for study."""
    failed_deletions: int
    status: PresetStatus
    status_reason: str
    last_error: str
    paused: Mapping[str, Any] | None
    rolling: bool
    max_surge: int

    @property
    def preset(self) -> Preset:
        return self.counted.preset

    @property
    def counts(self) -> Counts:
        return self.counted.counts

    @property
    def preset_id(self) -> int:
        return int(self.counted.preset.id)


@dataclass(frozen=True, slots=True)
class Declared:
    """One preset as declared, without its prebuilds."""

    preset_id: int
    preset: Preset
    replace_strategy: str


def expired(now: datetime | ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether a workspace, joined with its preset, is expired at `now`: the core's rule in SQL."""
    return func.coalesce(
        or_(m.Workspace.created_at < m.Preset.last_invalidated_at, _older_than(now, m.Preset.ttl_s)),
        literal(value=False),
    )


def past_ttl(now: datetime | ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether a workspace, joined with its preset, is older than the TTL: no claim may take it any more."""
    return func.coalesce(_older_than(now, m.Preset.ttl_s), literal(value=False))


def _older_than(now: datetime | ColumnElement[datetime], seconds: ColumnElement[Any] | Any) -> ColumnElement[bool]:
    instant = literal(now, UtcDateTime()) if isinstance(now, datetime) else now
    return and_(m.Preset.ttl_s > 0, age_seconds(instant, m.Workspace.created_at) > seconds)


def installation_id(connection: Connection) -> str:
    """The id that marks this database's resources."""
    return connection.execute(select(m.Installation.id)).scalar_one()


def pause_holds(paused: Mapping[str, Any] | None, now: datetime) -> bool:
    """Whether a stored pause is in force: until its end, if it has one."""
    if not paused:
        return False
    until = paused.get("until")
    return until is None or now < datetime.fromisoformat(until)


def preset_ref(template: str, preset: str, version: str, *, active: bool) -> str:
    """`template/preset`, with `@version` unless the version is the active one."""
    return f"{template}/{preset}" if active else f"{template}/{preset}@{version}"


def global_pause(connection: Connection) -> Mapping[str, Any] | None:
    """Who paused everything, why and until when; None while nothing is paused."""
    return connection.execute(select(m.Setting.value).where(m.Setting.key == PAUSED_KEY)).scalar_one_or_none()


def read_global(database: Database, connection: Connection, backoff_lookback: float) -> GlobalSnapshot:
    """Every preset that is active or still has prebuilds, declared and counted. Four statements."""
    now = database.now(connection)
    paused = pause_holds(global_pause(connection), now)
    rows, schedules, counts = _declared_and_counted(connection, now)
    return GlobalSnapshot(
        now=now,
        paused=paused,
        presets=tuple(
            _counted(row, schedules, counts, now, backoff_lookback) for row in rows if not pause_holds(row.paused, now)
        ),
    )


def read_pools(database: Database, connection: Connection, backoff_lookback: float) -> tuple[datetime, list[PoolRow]]:
    """Every pool that is active or still has prebuilds, paused ones too, by name. A fixed number of statements."""
    now = database.now(connection)
    everything = global_pause(connection)
    rows, schedules, counts = _declared_and_counted(connection, now, m.Preset.status_reason, m.Preset.last_error)
    failed: dict[int, Row[*tuple[Any, ...]]] = {
        row.preset_id: row
        for row in connection.execute(
            select(
                m.Workspace.preset_id,
                func.count().filter(IS_LIVE_PREBUILD, IS_START).label("starts"),
                func.count().filter(m.Workspace.transition == Transition.DELETE).label("deletions"),
            )
            .where(m.Workspace.deleted_at.is_(None), m.Workspace.status == BuildStatus.FAILED)
            .group_by(m.Workspace.preset_id)
        )
    }
    pools = [
        PoolRow(
            ref=preset_ref(row.template_name, row.name, row.version_name, active=row.using_active_version),
            counted=_counted(row, schedules, counts, now, backoff_lookback),
            failed=failed[row.id].starts if row.id in failed else 0,
            failed_deletions=failed[row.id].deletions if row.id in failed else 0,
            status=row.status,
            status_reason=row.status_reason,
            last_error=row.last_error,
            paused=next((p for p in (everything, row.paused) if pause_holds(p, now)), None),
            rolling=row.replace_strategy == "rolling",
            max_surge=row.max_surge,
        )
        for row in rows
    ]
    return now, sorted(pools, key=lambda pool: pool.ref)


def read_preset(
    database: Database, connection: Connection, preset_id: int, backoff_lookback: float
) -> PresetView | None:
    """One preset with its live prebuilds; None when it is gone. Three statements, `now` among them."""
    query = _presets().add_columns(database.now_column(), _global_pause_column()).where(m.Preset.id == preset_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    schedules = _schedules(connection, select(literal(preset_id)))
    workspaces = connection.execute(
        select(
            m.Workspace.id,
            m.Workspace.created_at,
            m.Workspace.ready_at,
            m.Workspace.transition,
            m.Workspace.status,
            m.Workspace.slot,
        ).where(m.Workspace.preset_id == preset_id, IS_LIVE_PREBUILD)
    ).all()
    tally: dict[tuple[Transition, BuildStatus], int] = defaultdict(int)
    for item in workspaces:
        tally[item.transition, item.status] += 1

    def in_progress(transition: Transition) -> int:
        return tally[transition, BuildStatus.PENDING] + tally[transition, BuildStatus.RUNNING]

    snapshot = PresetSnapshot(
        preset=_preset(row, schedules.get(preset_id, ())),
        running=tuple(
            RunningPrebuild(item.id, item.created_at, item.ready_at is not None)
            for item in workspaces
            if item.transition is Transition.START and item.status is BuildStatus.SUCCEEDED
        ),
        starting=in_progress(Transition.START),
        stopping=in_progress(Transition.STOP),
        deleting=in_progress(Transition.DELETE),
        pending=tally[Transition.START, BuildStatus.PENDING],
        failures=_failures(row, row.now, backoff_lookback),
    )
    return PresetView(
        snapshot=snapshot,
        now=row.now,
        preset_id=preset_id,
        ref=preset_ref(row.template_name, row.name, row.version_name, active=row.using_active_version),
        organization_id=row.organization_id,
        recipe_digest=row.recipe_digest,
        status=row.status,
        failures_in_row=row.failures_in_row,
        slow_start=row.slow_start,
        template_id=row.template_id,
        name=row.name,
        replace_strategy=row.replace_strategy,
        max_surge=row.max_surge,
        ready_timeout=row.ready_timeout_s,
        paused=pause_holds(row.paused, row.now) or pause_holds(row.global_pause, row.now),
        max_builds_in_flight=row.max_builds_in_flight,
        held_slots={item.id: item.slot for item in workspaces if item.slot is not None},
    )


def read_declared(connection: Connection, *conditions: ColumnElement[bool]) -> list[Declared]:
    """Presets as declared that meet conditions on preset, version and template. Two statements."""
    rows = connection.execute(_presets().where(*conditions)).all()
    schedules = _schedules(connection, select(m.Preset.id).where(m.Preset.id.in_([row.id for row in rows])))
    return [Declared(row.id, _preset(row, schedules.get(row.id, ())), row.replace_strategy) for row in rows]


def read_slots(connection: Connection, preset_id: int) -> dict[str, int]:
    """Slot by workspace, as they stand inside this transaction."""
    query = select(m.Workspace.id, m.Workspace.slot).where(
        m.Workspace.preset_id == preset_id, m.Workspace.slot.is_not(None)
    )
    return {row.id: row.slot for row in connection.execute(query)}


def resolve_preset(connection: Connection, name: str) -> int:
    """The id behind an id or `template/preset[@version]`. Raises NotFoundError that names what there is."""
    if name.isdigit():
        found = connection.execute(select(m.Preset.id).where(m.Preset.id == int(name))).scalar_one_or_none()
        if found is None:
            raise NotFoundError(f"there is no preset with the id {name}", hint="see: prebuild status")
        return found
    ref = parse_preset_ref(name)
    query = (
        select(m.Preset.id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Template.name == ref.template, m.Preset.name == ref.preset)
    )
    if ref.version:
        query = query.where(m.TemplateVersion.name == ref.version)
    else:
        query = query.where(m.Template.active_version_id == m.TemplateVersion.id, m.Preset.removed_at.is_(None))
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        known = sorted(preset_names(connection))
        hint = f"there are: {', '.join(known[:10])}" if known else "nothing is declared yet; run: prebuild apply FILE"
        raise NotFoundError(f"there is no preset {name}", hint=hint)
    return found


def preset_names(connection: Connection) -> Sequence[str]:
    """`template/preset` of every active preset."""
    query = (
        select(m.Template.name.label("template"), m.Preset.name)
        .select_from(m.Preset)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(IS_ACTIVE)
    )
    return [f"{row.template}/{row.name}" for row in connection.execute(query)]


def read_counts(
    connection: Connection, now: datetime, backoff_lookback: float, *conditions: ColumnElement[bool]
) -> list[PresetCounts]:
    """Presets that meet conditions on preset, version and template, declared and counted. Three statements."""
    chosen = _presets().where(*conditions)
    rows = connection.execute(chosen).all()
    schedules = _schedules(connection, chosen.with_only_columns(m.Preset.id))
    counts = _counts(connection, now, m.Workspace.preset_id.in_(chosen.with_only_columns(m.Preset.id)))
    return [_counted(row, schedules, counts, now, backoff_lookback) for row in rows if not pause_holds(row.paused, now)]


def _declared_and_counted(
    connection: Connection, now: datetime, *columns: Any
) -> tuple[Sequence[Any], dict[int, tuple[Schedule, ...]], dict[int, Counts]]:
    """Every preset that is active or still has prebuilds, with further columns; all schedules; all counts."""
    has_prebuilds = exists().where(m.Workspace.preset_id == m.Preset.id, IS_LIVE_PREBUILD)
    query = _presets().add_columns(*columns) if columns else _presets()
    rows = connection.execute(query.where(or_(IS_ACTIVE, has_prebuilds)).order_by(m.Preset.id)).all()
    schedules = _schedules(connection, select(m.Preset.id).where(m.Preset.removed_at.is_(None)))
    return rows, schedules, _counts(connection, now)


def _presets() -> Select[*tuple[Any, ...]]:
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


def _counted(
    row: Row[*tuple[Any, ...]],
    schedules: Mapping[int, tuple[Schedule, ...]],
    counts: Mapping[int, Counts],
    now: datetime,
    backoff_lookback: float,
) -> PresetCounts:
    return PresetCounts(
        preset=_preset(row, schedules.get(row.id, ())),
        counts=counts.get(row.id, Counts()),
        failures=_failures(row, now, backoff_lookback),
        creation_blocked=row.status is not PresetStatus.HEALTHY,
        last_reconciled_at=row.last_reconciled_at,
        organization_id=row.organization_id,
        max_builds_in_flight=row.max_builds_in_flight,
        slow_start=row.slow_start,
    )


def _global_pause_column() -> ColumnElement[Any]:
    return select(m.Setting.value).where(m.Setting.key == PAUSED_KEY).scalar_subquery().label("global_pause")


def _preset(row: Row[*tuple[Any, ...]], schedules: tuple[Schedule, ...]) -> Preset:
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


def _failures(row: Row[*tuple[Any, ...]], now: datetime, lookback: float) -> RecentFailures | None:
    """Failed builds of late, and prebuilds that fell ill beyond one pool's worth: a flapping pool waits, too."""
    since = now - timedelta(seconds=lookback)

    def recent(stored: Sequence[str] | None) -> list[datetime]:
        return [instant for text in stored or () if (instant := datetime.fromisoformat(text)) >= since]

    failed = recent(row.recent_failures) + recent(row.recent_unhealthy)[max(row.desired, 1) :]
    return RecentFailures(num_failed=len(failed), last_build_at=max(failed)) if failed else None


def _schedules(connection: Connection, preset_ids: Select[int]) -> dict[int, tuple[Schedule, ...]]:
    table = m.PresetSchedule
    found: dict[int, list[Schedule]] = defaultdict(list)
    for row in connection.execute(
        select(table.preset_id, table.cron, table.desired)
        .where(table.preset_id.in_(preset_ids))
        .order_by(table.preset_id, table.position)
    ):
        found[row.preset_id].append(Schedule(row.cron, row.desired))
    return {preset_id: tuple(schedules) for preset_id, schedules in found.items()}


def _counts(connection: Connection, now: datetime, *conditions: ColumnElement[bool]) -> dict[int, Counts]:
    is_expired = expired(now)
    is_aging = func.coalesce(
        and_(m.Preset.replace_strategy == "rolling", _older_than(now, m.Preset.ttl_s / 2)), literal(value=False)
    )
    query = (
        select(
            m.Workspace.preset_id,
            func.count().filter(IS_RUNNING, ~is_expired).label("live"),
            func.count().filter(IS_RUNNING, is_expired).label("expired"),
            func.count().filter(IS_RUNNING, ~is_expired, m.Workspace.ready_at.is_not(None)).label("ready"),
            func.count().filter(IS_START, IN_PROGRESS).label("starting"),
            func.count().filter(m.Workspace.transition == Transition.STOP, IN_PROGRESS).label("stopping"),
            func.count().filter(m.Workspace.transition == Transition.DELETE, IN_PROGRESS).label("deleting"),
            func.count().filter(IS_START, m.Workspace.status == BuildStatus.PENDING).label("pending"),
            func.count().filter(IS_RUNNING, ~is_expired, is_aging).label("aging"),
        )
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(IS_LIVE_PREBUILD, *conditions)
        .group_by(m.Workspace.preset_id)
    )
    return {row[0]: Counts(*row[1:]) for row in connection.execute(query)}
