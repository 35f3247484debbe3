"""Every pool at once, as counts: for the tick, for budgets, and for people. A fixed number of statements each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, exists, func, literal, null, or_, select

from prebuild_tasks.core.model import (
    CLAIM_REASON,
    BuildStatus,
    Counts,
    GlobalSnapshot,
    Preset,
    PresetCounts,
    PresetStatus,
    Schedule,
    Transition,
)
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage.conditions import (
    IN_PROGRESS,
    IS_ACTIVE,
    IS_LIVE_PREBUILD,
    IS_RUNNING,
    IS_START,
    ROLLING,
    expired,
    global_pause,
    older_than,
    pause_holds,
    preset_ref,
)
from prebuild_tasks.storage.declared import presets_query, read_schedules, to_failures, to_preset
from prebuild_tasks.storage.engine import Database


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
    failures_in_row: int
    failure: str | None
    """The error code of its last start; None when that did not fail."""
    paused: Mapping[str, Any] | None
    paused_everything: bool
    """The pause is everybody's."""
    paused_itself: bool
    rolling: bool
    max_surge: int
    version: str
    cost_per_hour: float | None
    lost_turns: int
    """Turns in a row that ended with their process."""
    rests_until: datetime | None
    """For which it rests; None: it does not."""

    @property
    def preset(self) -> Preset:
        return self.counted.preset

    @property
    def counts(self) -> Counts:
        return self.counted.counts

    @property
    def preset_id(self) -> int:
        return int(self.counted.preset.id)


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


def read_pools(
    database: Database, connection: Connection, backoff_lookback: float, only: int | None = None
) -> tuple[datetime, list[PoolRow]]:
    """Every pool that is active or still has prebuilds, paused ones too, by name. A fixed number of statements.

    `only`: the pool of this preset, whether or not it is active or has any.
    """
    now = database.now(connection)
    everything = global_pause(connection)
    columns = (
        m.Preset.status_reason, m.Preset.last_error, m.Preset.cost_per_hour, _failure(),
        m.LostTurn.count.label("lost_turns"), m.LostTurn.rests_until,
    )  # fmt: skip
    rows, schedules, counts = _declared_and_counted(connection, now, *columns, only=only)
    mine = [] if only is None else [m.Workspace.preset_id == only]
    failed: dict[int, Row[*tuple[Any, ...]]] = {
        row.preset_id: row
        for row in connection.execute(
            select(
                m.Workspace.preset_id,
                func.count().filter(IS_LIVE_PREBUILD, IS_START).label("starts"),
                func.count().filter(m.Workspace.transition == Transition.DELETE).label("deletions"),
            )
            .where(m.Workspace.deleted_at.is_(None), m.Workspace.status == BuildStatus.FAILED, *mine)
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
            failures_in_row=row.failures_in_row,
            failure=(row.failure or "") if row.failures_in_row else None,
            paused=next((p for p in (everything, row.paused) if pause_holds(p, now)), None),
            paused_everything=pause_holds(everything, now),
            paused_itself=pause_holds(row.paused, now),
            rolling=row.replace_strategy == ROLLING,
            max_surge=row.max_surge,
            version=row.version_name,
            cost_per_hour=row.cost_per_hour,
            lost_turns=row.lost_turns or 0,
            rests_until=row.rests_until if row.rests_until and now < row.rests_until else None,
        )
        for row in rows
    ]
    return now, sorted(pools, key=lambda pool: pool.ref)


def read_counts(
    connection: Connection, now: datetime, backoff_lookback: float, *conditions: ColumnElement[bool]
) -> list[PresetCounts]:
    """Presets that meet conditions on preset, version and template, declared and counted. Three statements."""
    chosen = presets_query().where(*conditions)
    rows = connection.execute(chosen).all()
    schedules = read_schedules(connection, chosen.with_only_columns(m.Preset.id))
    counts = _counts(connection, now, m.Workspace.preset_id.in_(chosen.with_only_columns(m.Preset.id)))
    return [_counted(row, schedules, counts, now, backoff_lookback) for row in rows if not pause_holds(row.paused, now)]


def _declared_and_counted(
    connection: Connection, now: datetime, *columns: Any, only: int | None = None
) -> tuple[Sequence[Any], dict[int, tuple[Schedule, ...]], dict[int, Counts]]:
    """Every preset that is active or still has prebuilds, with further columns; all schedules; all counts.

    `only`: this preset alone, whatever it is.
    """
    has_prebuilds = exists().where(m.Workspace.preset_id == m.Preset.id, IS_LIVE_PREBUILD)
    query = presets_query()
    if columns:
        query = query.add_columns(*columns).outerjoin(m.LostTurn, m.LostTurn.preset_id == m.Preset.id)
    if only is not None:
        rows = connection.execute(query.where(m.Preset.id == only)).all()
        schedules = read_schedules(connection, select(literal(only)))
        return rows, schedules, _counts(connection, now, m.Workspace.preset_id == only)
    rows = connection.execute(query.where(or_(IS_ACTIVE, has_prebuilds)).order_by(m.Preset.id)).all()
    schedules = read_schedules(connection, select(m.Preset.id).where(m.Preset.removed_at.is_(None)))
    return rows, schedules, _counts(connection, now)


def _failure() -> ColumnElement[str]:
    """The error code of a failing preset's last start; not looked for where none failed."""
    last = (
        select(m.Build.error_code)
        .where(m.Build.preset_id == m.Preset.id, m.Build.transition == Transition.START)
        .where(m.Build.status == BuildStatus.FAILED, m.Build.reason != CLAIM_REASON)
        .order_by(m.Build.created_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    return case((m.Preset.failures_in_row > 0, last), else_=null()).label("failure")


def _counted(
    row: Row[*tuple[Any, ...]],
    schedules: Mapping[int, tuple[Schedule, ...]],
    counts: Mapping[int, Counts],
    now: datetime,
    backoff_lookback: float,
) -> PresetCounts:
    return PresetCounts(
        preset=to_preset(row, schedules.get(row.id, ())),
        counts=counts.get(row.id, Counts()),
        failures=to_failures(row, now, backoff_lookback),
        creation_blocked=row.status is not PresetStatus.HEALTHY,
        last_reconciled_at=row.last_reconciled_at,
        organization_id=row.organization_id,
        max_builds_in_flight=row.max_builds_in_flight,
        slow_start=row.slow_start,
    )


def _counts(connection: Connection, now: datetime, *conditions: ColumnElement[bool]) -> dict[int, Counts]:
    is_expired = expired(now)
    is_aging = func.coalesce(
        and_(m.Preset.replace_strategy == ROLLING, older_than(now, m.Preset.ttl_s / 2)), literal(value=False)
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
