"""Read all pools as counts, for the tick, for shared limits and for people, in a fixed number of statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, exists, func, literal, null, or_, select

from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.rows import records, values_by_name
from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import BuildStatus, Preset, PresetStatus, Schedule, Transition
from prebuild_tasks.reconcile.rules.model import Counts, GlobalSnapshot, PresetCounts, RecentFailures
from prebuild_tasks.reconcile.rules.rollout import Rolling
from prebuild_tasks.reconcile.store.counts import count_sql
from prebuild_tasks.reconcile.store.declared import (
    DeclaredRow,
    PresetRow,
    counted_query,
    presets_query,
    read_schedules,
    to_counted,
)
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import (
    IS_HELD,
    IS_LIVE_PREBUILD,
    IS_START,
    is_active_sql,
)
from prebuild_tasks.schema.pauses import StoredPause, global_pause, pause_holds
from prebuild_tasks.workspaces import is_pool_start_sql

SHARES_LIMITS = and_(is_active_sql(), m.Preset.status == PresetStatus.HEALTHY)
"""The condition that a pool shares limits with others; while it is paused, it wants nothing of them."""


class PoolRow(NamedTuple):
    """One pool, as status, explain and the metrics show it."""

    counted: PresetCounts
    failed: int
    """The number of failed prebuilds that are kept for diagnosis."""
    failed_deletions: int
    shares_limits: bool
    """Whether it shares limits with other pools."""
    status: PresetStatus
    status_reason: str
    last_error: str
    failures_in_row: int
    failure: str | None
    """The error code of its last start, or of one that is held; None: it did not fail."""
    paused: StoredPause | None
    paused_everything: bool
    """Whether the whole installation is paused."""
    rolling: Rolling | None
    """The settings of gradual replacement; None: all prebuilds are replaced at once."""
    version: str
    cost_per_hour: float | None
    lost_turns: int
    """The number of turns in a row that crashed their worker."""
    rests_until: datetime | None
    """The end of its rest after lost turns; None: it does not rest."""

    @property
    def ref(self) -> PresetRef:
        return self.counted.ref

    @property
    def preset(self) -> Preset:
        return self.counted.preset

    @property
    def counts(self) -> Counts:
        return self.counted.counts

    @property
    def failures(self) -> RecentFailures | None:
        return self.counted.failures

    @property
    def is_paused(self) -> bool:
        """Whether the preset or the installation is paused."""
        return self.paused is not None

    @property
    def preset_id(self) -> int:
        return int(self.counted.preset.id)


def read_global(
    database: Database, connection: Connection, backoff_lookback: float, *, paused_too: bool = False
) -> GlobalSnapshot:
    """Read every preset that is active or still has prebuilds, with its counts. Five statements.

    Args:
        database: The database.
        connection: The connection to read with.
        backoff_lookback: Seconds in which failures count.
        paused_too: Include presets that are paused, which the tick does not need.
    """
    now = database.now(connection)
    paused = pause_holds(global_pause(connection), now)
    presets = _read_presets(connection, now, counted_query())
    if paused_too:
        since = now - timedelta(seconds=backoff_lookback)
        rows = records(DeclaredRow, presets.rows)
        return GlobalSnapshot(now, tuple(presets.counted(row, since) for row in rows), paused)
    return GlobalSnapshot(now=now, presets=tuple(presets.unpaused(now, backoff_lookback)), paused=paused)


def read_pools(
    database: Database, connection: Connection, backoff_lookback: float, only: Sequence[int] | None = None
) -> tuple[datetime, list[PoolRow]]:
    """Read every pool that is active or still has prebuilds, including paused ones, in the order of their names.

    Args:
        database: The database.
        connection: The connection to read with.
        backoff_lookback: Seconds in which failures count.
        only: Read these presets instead, whether or not they are active or have prebuilds.

    Returns:
        The database's time, and the pools.
    """
    now = database.now(connection)
    everything = global_pause(connection)
    query = (
        presets_query()
        .add_columns(m.Preset.status_reason, m.Preset.last_error, m.Preset.cost_per_hour, _failure())
        .add_columns(m.LostTurn.count.label("lost_turns"), m.LostTurn.rests_until, SHARES_LIMITS.label("shares_limits"))
        .outerjoin(m.LostTurn, m.LostTurn.preset_id == m.Preset.id)
    )
    presets = _read_presets(connection, now, query, only)
    since = now - timedelta(seconds=backoff_lookback)
    of_presets = [] if only is None else [m.Workspace.preset_id.in_(only)]
    failed = _read_failed(connection, *of_presets)
    pools = []
    declared = records(DeclaredRow, presets.rows)
    for row, preset, stored in zip(presets.rows, declared, records(PresetRow, presets.rows), strict=True):
        counted = presets.counted(preset, since)
        pools.append(_pool(row, stored, counted, failed.get(preset.id, _NO_FAILED), everything, now))
    return now, sorted(pools, key=lambda pool: str(pool.ref))


def _pool(
    row: Row[*tuple[Any, ...]],
    stored: PresetRow,
    counted: PresetCounts,
    failed: _Failed,
    everything: StoredPause | None,
    now: datetime,
) -> PoolRow:
    """Make a pool of its row. `everything` is the pause of the whole installation."""
    return PoolRow(
        counted=counted,
        failed=failed.starts,
        failed_deletions=failed.deletions,
        shares_limits=row.shares_limits,
        status=stored.status,
        status_reason=row.status_reason,
        last_error=row.last_error,
        failures_in_row=stored.failures_in_row,
        failure=(row.failure or "") if stored.failures_in_row or row.failure else None,
        paused=next((p for p in (everything, row.paused) if pause_holds(p, now)), None),
        paused_everything=pause_holds(everything, now),
        rolling=stored.rolling,
        version=row.version_name,
        cost_per_hour=row.cost_per_hour,
        lost_turns=row.lost_turns or 0,
        rests_until=row.rests_until if row.rests_until and now < row.rests_until else None,
    )


class _Failed(NamedTuple):
    """The numbers of a preset's workspaces whose latest build failed."""

    starts: int = 0
    """Unclaimed workspaces that could not be started."""
    deletions: int = 0
    """Workspaces that could not be deleted."""


_NO_FAILED = _Failed()


def _read_failed(connection: Connection, *conditions: ColumnElement[bool]) -> dict[int, _Failed]:
    """Count the failed workspaces that meet conditions, by preset. One statement."""
    query = (
        select(
            m.Workspace.preset_id,
            func.count().filter(IS_LIVE_PREBUILD, IS_START).label("starts"),
            func.count().filter(m.Workspace.transition == Transition.DELETE).label("deletions"),
        )
        .where(m.Workspace.deleted_at.is_(None), m.Workspace.status == BuildStatus.FAILED, *conditions)
        .group_by(m.Workspace.preset_id)
    )
    return {row.preset_id: _Failed(row.starts, row.deletions) for row in connection.execute(query)}


def read_counts(
    connection: Connection, now: datetime, backoff_lookback: float, *conditions: ColumnElement[bool]
) -> list[PresetCounts]:
    """Read the unpaused presets that meet conditions on preset, version and template, with counts. Three statements."""
    chosen = counted_query().where(*conditions)
    ids = chosen.with_only_columns(m.Preset.id)
    presets = _Presets(
        rows=connection.execute(chosen).all(),
        schedules=read_schedules(connection, ids),
        counts=_count_prebuilds(connection, now, m.Workspace.preset_id.in_(ids)),
    )
    return presets.unpaused(now, backoff_lookback)


@dataclass(frozen=True, slots=True)
class _Presets:
    """Rows of `counted_query`, possibly with more columns, and the schedules and counts of their presets."""

    rows: Sequence[Row[*tuple[Any, ...]]]
    schedules: Mapping[int, tuple[Schedule, ...]]
    counts: Mapping[int, Counts]

    def counted(self, row: DeclaredRow, since: datetime) -> PresetCounts:
        return to_counted(row, self.schedules.get(row.id, ()), self.counts.get(row.id, _NOTHING), since)

    def unpaused(self, now: datetime, backoff_lookback: float) -> list[PresetCounts]:
        since = now - timedelta(seconds=backoff_lookback)
        rows = records(DeclaredRow, self.rows)
        return [self.counted(row, since) for row in rows if not (row.paused and pause_holds(row.paused, now))]


_NOTHING = Counts()
_CHUNK = 1_000
"""The number of rows held at once while they are counted: fewer objects to search for the garbage collector."""


def _read_presets(
    connection: Connection, now: datetime, query: Select[*tuple[Any, ...]], only: Sequence[int] | None = None
) -> _Presets:
    """Run the query for presets that are active or still have prebuilds, or `only` for these, and read their counts."""
    if only is not None:
        return _Presets(
            rows=connection.execute(query.where(m.Preset.id.in_(only))).all(),
            schedules=read_schedules(connection, select(m.Preset.id).where(m.Preset.id.in_(only))),
            counts=_count_prebuilds(connection, now, m.Workspace.preset_id.in_(only)),
        )
    has_prebuilds = exists().where(m.Workspace.preset_id == m.Preset.id, IS_LIVE_PREBUILD)
    return _Presets(
        rows=connection.execute(query.where(or_(is_active_sql(), has_prebuilds)).order_by(m.Preset.id)).all(),
        schedules=read_schedules(connection, select(m.Preset.id).where(m.Preset.removed_at.is_(None))),
        counts=_count_prebuilds(connection, now),
    )


def _failure() -> ColumnElement[str]:
    """Build the error code of a preset's held start, or else of its last one; NULL if that did not fail.

    Only starts that failed are searched for; those that are held have an index of their own.
    """
    held = exists().where(m.Build.preset_id == m.Preset.id, IS_HELD, is_pool_start_sql())
    last = (
        select(m.Build.error_code)
        .where(m.Build.preset_id == m.Preset.id, is_pool_start_sql(), m.Build.status == BuildStatus.FAILED)
        .order_by(m.Build.created_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    of_held = (held, literal(CannotAskError.code))
    return case(of_held, (m.Preset.failures_in_row > 0, last), else_=null()).label("failure")


def _count_prebuilds(connection: Connection, now: datetime, *conditions: ColumnElement[bool]) -> dict[int, Counts]:
    """Count the live prebuilds that meet conditions, by preset. One statement."""
    query = (
        select(m.Workspace.preset_id, *count_sql(now))
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(IS_LIVE_PREBUILD, *conditions)
        .group_by(m.Workspace.preset_id)
    )
    counts = {}
    for rows in connection.execute(query).partitions(_CHUNK):
        for preset_id, *numbers in values_by_name(rows, ("preset_id", *Counts._fields)):
            counts[preset_id] = Counts._make(numbers)
    return counts
