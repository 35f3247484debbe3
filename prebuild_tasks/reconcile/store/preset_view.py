"""Read one preset with its prebuilds for its decision, in a fixed number of statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, exists, select

from prebuild_tasks.db.connections import PreparedQuery
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.rows import records
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import BuildStatus, Preset, PresetStatus, Schedule, Transition
from prebuild_tasks.reconcile.rules.backoff import recent_failures
from prebuild_tasks.reconcile.rules.model import Counts, PresetSnapshot, RecentFailures, RunningPrebuild
from prebuild_tasks.reconcile.rules.news import Told
from prebuild_tasks.reconcile.rules.rollout import Rolling
from prebuild_tasks.reconcile.rules.state import count
from prebuild_tasks.reconcile.store.declared import (
    DeclaredRow,
    PresetRow,
    global_pause_column,
    presets_query,
    to_preset,
)
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_LIVE_PREBUILD
from prebuild_tasks.schema.pauses import pause_holds


@dataclass(frozen=True, slots=True)
class PresetView:
    """One preset as its decision reads it: the snapshot for the rules, and what is needed to carry the decision out."""

    snapshot: PresetSnapshot
    now: datetime
    preset_id: int
    ref: PresetRef
    organization_id: int
    recipe_digest: str
    status: PresetStatus
    failures_in_row: int
    slow_start: int | None
    is_paused: bool
    max_builds_in_flight: int | None
    template_id: int
    name: str
    rolling: Rolling | None
    """The settings of gradual replacement; None: all prebuilds are replaced at once."""
    lost_turns: int
    """The number of turns in a row that crashed their worker."""
    rests_until: datetime | None
    """The end of the rest after lost turns; None: there was none."""
    held_slots: Mapping[str, int]
    """The slots of live prebuilds, by workspace."""
    told: Told
    """What the latest events about the pool said."""

    @property
    def preset(self) -> Preset:
        return self.snapshot.preset

    @property
    def counts(self) -> Counts:
        return count(self.snapshot, self.now)

    @property
    def failures(self) -> RecentFailures | None:
        return self.snapshot.failures


def read_preset(
    database: Database, connection: Connection, preset_id: int, backoff_lookback: float
) -> PresetView | None:
    """Read one preset with its live prebuilds, in two statements or, with schedules, three; None: no such preset."""
    now, clock = database.now_sql()
    values = {"preset_id": preset_id, **clock}
    preset, schedules, prebuilds = _statements(now)
    rows = preset.rows(connection, values)
    if not rows:
        return None
    row = rows[0]
    [declared], [stored] = records(DeclaredRow, rows), records(PresetRow, rows)
    times: tuple[Schedule, ...] = ()
    if row.has_schedules:
        times = tuple(Schedule(item.cron, item.desired) for item in schedules.rows(connection, values))
    workspaces = prebuilds.rows(connection, values)
    since = row.now - timedelta(seconds=backoff_lookback)
    failures = recent_failures(declared.desired, declared.recent_failures, declared.recent_unhealthy, since)
    snapshot = _snapshot(to_preset(declared, times), workspaces, failures)
    return PresetView(
        snapshot=snapshot,
        now=row.now,
        preset_id=preset_id,
        ref=declared.ref,
        organization_id=declared.organization_id,
        recipe_digest=stored.recipe_digest,
        status=stored.status,
        failures_in_row=stored.failures_in_row,
        slow_start=declared.slow_start,
        template_id=stored.template_id,
        name=declared.name,
        rolling=stored.rolling,
        is_paused=pause_holds(declared.paused, row.now) or pause_holds(row.global_pause, row.now),
        max_builds_in_flight=declared.max_builds_in_flight,
        lost_turns=row.lost_turns or 0,
        rests_until=row.rests_until,
        told=Told(declared.is_short, stored.is_limited),
        held_slots={item.id: item.slot for item in workspaces if item.slot is not None},
    )


def _snapshot(
    preset: Preset, workspaces: Sequence[Row[*tuple[Any, ...]]], failures: RecentFailures | None
) -> PresetSnapshot:
    tally: dict[tuple[Transition, BuildStatus], int] = defaultdict(int)
    for item in workspaces:
        tally[item.transition, item.status] += 1

    def in_progress(transition: Transition) -> int:
        return tally[transition, BuildStatus.PENDING] + tally[transition, BuildStatus.RUNNING]

    return PresetSnapshot(
        preset=preset,
        running=tuple(
            RunningPrebuild(item.id, item.created_at, item.ready_at is not None)
            for item in workspaces
            if item.transition is Transition.START and item.status is BuildStatus.SUCCEEDED
        ),
        starting=in_progress(Transition.START),
        stopping=in_progress(Transition.STOP),
        deleting=in_progress(Transition.DELETE),
        pending=tally[Transition.START, BuildStatus.PENDING],
        failures=failures,
    )


@cache
def _statements(now: ColumnElement[datetime]) -> tuple[PreparedQuery, PreparedQuery, PreparedQuery]:
    """Prepare the statements for the preset, its schedules and its prebuilds.

    Cached, because building them would take most of the time of most turns.
    """
    wanted_id = bindparam("preset_id", type_=m.Preset.id.type)
    has_schedules = exists().where(m.PresetSchedule.preset_id == m.Preset.id)
    lost = (m.LostTurn.count.label("lost_turns"), m.LostTurn.rests_until)
    preset = (
        presets_query()
        .add_columns(now.label("now"), global_pause_column(), has_schedules.label("has_schedules"), *lost)
        .outerjoin(m.LostTurn, m.LostTurn.preset_id == m.Preset.id)
        .where(m.Preset.id == wanted_id)
    )
    table = m.PresetSchedule
    schedules = select(table.cron, table.desired).where(table.preset_id == wanted_id).order_by(table.position)
    prebuilds = select(
        m.Workspace.id,
        m.Workspace.created_at,
        m.Workspace.ready_at,
        m.Workspace.transition,
        m.Workspace.status,
        m.Workspace.slot,
    ).where(m.Workspace.preset_id == wanted_id, IS_LIVE_PREBUILD)
    return PreparedQuery(preset), PreparedQuery(schedules), PreparedQuery(prebuilds)


def read_slots(connection: Connection, preset_id: int) -> dict[str, int]:
    """Read the slots of a preset's workspaces as they are within this transaction, by workspace."""
    query = select(m.Workspace.id, m.Workspace.slot).where(
        m.Workspace.preset_id == preset_id, m.Workspace.slot.is_not(None)
    )
    return {row.id: row.slot for row in connection.execute(query)}
