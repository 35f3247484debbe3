"""SQL of the report.

The number of statements is fixed; the number of rows is bounded by the pools and the length of the period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Subquery,
    and_,
    case,
    exists,
    func,
    literal,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from prebuild_tasks.db.types import UtcDateTime, age_seconds, bucket_of
from prebuild_tasks.insight.report.rules import QUARTER, Demand, IdleChange
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import MISSED_BEFORE, VERSION_OF_PRESET
from prebuild_tasks.workspaces import is_pool_start_sql

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POOL = (m.TemplateVersion.template_id.label("template_id"), m.Preset.name.label("preset_name"))
"""The columns that identify a pool over all versions of its template."""


@dataclass(frozen=True, slots=True)
class Span:
    """The period and the presets that the report covers."""

    since: datetime
    until: datetime
    """The end, exclusive."""
    preset_ids: Sequence[int] | None = None
    """None: all presets."""

    def holds(self, at: InstrumentedAttribute[Any], preset_id: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
        within = and_(at >= self.since, at < self.until)
        return within if self.preset_ids is None else and_(within, preset_id.in_(self.preset_ids))


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The median and the 95th percentile of values, by nearest rank: each is a value that occurred."""

    count: int
    """How many values there are."""
    p50: float
    p95: float


def read_demand(connection: Connection, span: Span) -> list[tuple[int | None, Demand]]:
    """Read the requests by preset and quarter of an hour of their first event.

    A request that ever missed counts as one miss, at the time of its first one. The preset is None where it was deleted
    and only its events are left.
    """
    table = m.ClaimEvent
    requests = (
        select(
            func.min(table.id).label("first"),
            func.max(case((table.hit, 0), else_=1)).label("missed"),
            func.max(case((and_(~table.hit, table.workspace_id.is_not(None)), 1), else_=0)).label("cold"),
        )
        .where(span.holds(table.at, table.preset_id))
        .group_by(table.request_id)
        .subquery()
    )
    quarter = bucket_of(table.at, literal_column(str(QUARTER))).label("quarter")
    query = (
        select(
            table.preset_id,
            quarter,
            func.sum(1 - requests.c.missed).label("hits"),
            func.sum(requests.c.missed).label("misses"),
            func.sum(requests.c.cold).label("cold"),
        )
        .join(requests, requests.c.first == table.id)
        .where(~MISSED_BEFORE)
        .group_by(table.preset_id, quarter)
        .order_by(quarter)
    )
    return [
        (row.preset_id, Demand(int(row.quarter), int(row.hits), int(row.misses), int(row.cold)))
        for row in connection.execute(query)
    ]


def read_latencies(connection: Connection, span: Span) -> tuple[Percentiles | None, dict[tuple[int, str], Percentiles]]:
    """Read the durations of hits in milliseconds, of all pools together and by pool. Two statements.

    Requests that ever missed are left out.
    """
    values = select(m.ClaimEvent.latency_ms.label("value")).where(
        m.ClaimEvent.hit, ~MISSED_BEFORE, span.holds(m.ClaimEvent.at, m.ClaimEvent.preset_id)
    )
    return _all_and_by_pool(connection, values, m.ClaimEvent.preset_id)


def read_times_to_ready(
    connection: Connection, span: Span
) -> tuple[Percentiles | None, dict[tuple[int, str], Percentiles]]:
    """Read the seconds from the decision to a ready workspace, of all pools together and by pool. Two statements."""
    return _all_and_by_pool(connection, _times_to_ready(span), m.Build.preset_id)


def read_ready_curve(connection: Connection, span: Span, width: int) -> dict[int, Percentiles]:
    """Read the seconds from the decision to a ready workspace over time.

    The key counts spans of `width` seconds since 1970, and is that in which the build ended.
    """
    bucket = bucket_of(m.Build.completed_at, literal_column(str(width))).label("bucket")
    return {
        row.bucket: percentiles
        for row, percentiles in _percentiles(connection, _times_to_ready(span).add_columns(bucket))
    }


def read_outcomes(connection: Connection, span: Span) -> dict[tuple[int, BuildStatus], int]:
    """Count the start builds that ended in the period, by preset and final status."""
    query = (
        select(m.Build.preset_id, m.Build.status, func.count().label("n"))
        .where(is_pool_start_sql(), span.holds(m.Build.completed_at, m.Build.preset_id))
        .group_by(m.Build.preset_id, m.Build.status)
    )
    return {(row.preset_id, row.status): row.n for row in connection.execute(query)}


def read_wasted(connection: Connection, span: Span) -> dict[tuple[int, str], int]:
    """Count the ready prebuilds that were chosen for deletion unclaimed, by preset and reason of the deletion."""
    earlier = aliased(m.Build)
    query = (
        select(m.Build.preset_id, m.Build.reason, func.count().label("n"))
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .where(
            m.Build.transition == Transition.DELETE,
            span.holds(m.Build.created_at, m.Build.preset_id),
            m.Workspace.ready_at.is_not(None),
            m.Workspace.claimed_at.is_(None),
            # A deletion that failed and is tried again counts once.
            ~exists().where(
                earlier.workspace_id == m.Build.workspace_id,
                earlier.transition == Transition.DELETE,
                earlier.number < m.Build.number,
            ),
        )
        .group_by(m.Build.preset_id, m.Build.reason)
    )
    return {(row.preset_id, row.reason): row.n for row in connection.execute(query)}


def read_idle(connection: Connection, span: Span) -> dict[int, float]:
    """Sum the seconds for which prebuilds were ready and unclaimed within the period, by preset."""
    idle = _idle(span)
    query = select(idle.c.preset_id, func.sum(age_seconds(idle.c.end, idle.c.begin)).label("seconds")).group_by(
        idle.c.preset_id
    )
    return {row.preset_id: float(row.seconds) for row in connection.execute(query)}


def read_idle_changes(connection: Connection, span: Span, width: int) -> dict[tuple[int, int], IdleChange]:
    """Read how the number of ready, unclaimed prebuilds changed, by preset and span of `width` seconds since 1970.

    One statement, from the instants kept with each workspace: ready, claimed, chosen for deletion, deleted. It is an
    estimate of the eligible prebuilds of that time: it still counts those that had expired, were outdated or failed
    their probes, until they were chosen for deletion, and lacks workspaces that retention has deleted.
    """
    idle = _idle(span)
    instants = union_all(
        select(idle.c.preset_id, idle.c.begin.label("at"), literal(1).label("change")),
        select(idle.c.preset_id, idle.c.end.label("at"), literal(-1).label("change")),
    ).subquery()
    bucket = bucket_of(instants.c.at, literal_column(str(width)))
    rest = (bucket + 1) * width - age_seconds(instants.c.at, literal(_EPOCH, UtcDateTime()))
    query = select(
        instants.c.preset_id,
        bucket.label("bucket"),
        func.sum(instants.c.change).label("change"),
        func.sum(instants.c.change * rest).label("seconds"),
    ).group_by(instants.c.preset_id, bucket)
    return {
        (row.preset_id, row.bucket): IdleChange(int(row.change), float(row.seconds))
        for row in connection.execute(query)
    }


def _idle(span: Span) -> Subquery:
    """Select the times, cut to the period, during which each prebuild was ready and unclaimed."""
    table, ids = m.Workspace, span.preset_ids
    chosen = (
        select(func.min(m.Build.created_at))
        .where(m.Build.workspace_id == table.id, m.Build.transition == Transition.DELETE)
        .correlate(table)
        .scalar_subquery()
    )
    since, until = literal(span.since, UtcDateTime()), literal(span.until, UtcDateTime())
    idle = (
        select(
            table.preset_id,
            table.ready_at.label("begin"),
            func.coalesce(table.claimed_at, chosen, table.deleted_at, until).label("end"),
        )
        .where(table.ready_at < span.until, *(() if ids is None else (table.preset_id.in_(ids),)))
        .subquery()
    )
    begin = case((idle.c.begin > since, idle.c.begin), else_=since)
    end = case((idle.c.end < until, idle.c.end), else_=until)
    cut = select(idle.c.preset_id, begin.label("begin"), end.label("end")).where(
        idle.c.end > since, idle.c.end > idle.c.begin
    )
    return cut.subquery()


def _times_to_ready(span: Span) -> Select[Any]:
    return select(age_seconds(m.Build.completed_at, m.Build.created_at).label("value")).where(
        is_pool_start_sql(),
        m.Build.status == BuildStatus.SUCCEEDED,
        span.holds(m.Build.completed_at, m.Build.preset_id),
    )


def _all_and_by_pool(
    connection: Connection, values: Select[Any], preset_id: InstrumentedAttribute[Any]
) -> tuple[Percentiles | None, dict[tuple[int, str], Percentiles]]:
    overall = next((percentiles for _, percentiles in _percentiles(connection, values)), None)
    by_pool = values.add_columns(*_POOL).join(m.Preset, m.Preset.id == preset_id).join(*VERSION_OF_PRESET)
    return overall, {
        (row.template_id, row.preset_name): percentiles for row, percentiles in _percentiles(connection, by_pool)
    }


def _percentiles(connection: Connection, values: Select[Any]) -> list[tuple[Row[*tuple[Any, ...]], Percentiles]]:
    """Return the percentiles of the column `value` per combination of the other columns.

    They are computed by nearest rank, so that both databases give the same result.
    """
    source = values.subquery()
    keys = [column for column in source.c if column.name != "value"]
    ranked = select(
        *keys,
        source.c.value,
        func.row_number().over(partition_by=keys or None, order_by=source.c.value).label("position"),
        func.count().over(partition_by=keys or None).label("n"),
    ).subquery()

    def at(percent: int) -> ColumnElement[float]:
        return func.max(case((ranked.c.position == (ranked.c.n * percent + 99) // 100, ranked.c.value)))

    own = [ranked.c[key.name] for key in keys]
    query = select(*own, ranked.c.n, at(50).label("p50"), at(95).label("p95")).group_by(*own, ranked.c.n)
    return [(row, Percentiles(row.n, float(row.p50), float(row.p95))) for row in connection.execute(query)]
