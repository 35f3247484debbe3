"""Compile the report: hit rate, cold starts, time to ready, idle time, its cost and waste, per pool and in total.

A pool is a preset name over all versions of its template. Nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError
from prebuild_tasks.insight.report import store
from prebuild_tasks.insight.report.advice import UsageSummary, desired_in, recommend
from prebuild_tasks.insight.report.rules import (
    QUARTER,
    Demand,
    HeatMap,
    bucket_width,
    busy_hours,
    heat_map,
    hit_rate,
    over_time,
    peak,
    zone_of,
)
from prebuild_tasks.insight.report.store import Percentiles, Span
from prebuild_tasks.insight.report.types import Figures, PoolReport, Report
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import BuildStatus, Preset
from prebuild_tasks.reconcile import read_declared
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.lookup import resolve_preset
from prebuild_tasks.schema.rules import is_active


@dataclass(slots=True)
class _Pool:
    """The figures of one pool while they are being collected."""

    ref: PresetRef | None
    """None: all deleted pools together, or all pools."""
    key: tuple[int, str] = (0, "")
    declared: Preset | None = None
    """The preset of the active version; None: there is none."""
    timezone: str = ""
    costs: dict[int, float | None] = field(default_factory=dict)
    """Cost per hour by preset id, newest last."""
    demand: list[Demand] = field(default_factory=list)
    built: int = 0
    failed: int = 0
    wasted: Counter[str] = field(default_factory=Counter)
    idle: dict[int, float] = field(default_factory=dict)
    """Idle seconds by preset id."""
    latency: Percentiles | None = None
    ready: Percentiles | None = None


def compile_report(
    database: Database,
    settings: Settings,
    *,
    since: Callable[[datetime], datetime],
    until: Callable[[datetime], datetime] = lambda now: now,
    preset: str = "",
) -> Report:
    """Compile the report of a period, in one transaction with a fixed number of statements.

    `since` and `until` compute its ends from the database's time. Raises NotFoundError for an unknown preset, and
    InputError for a period that is empty.
    """
    with database.snapshot() as connection:
        clock = connection.execute(select(database.now_column(), m.Installation.created_at)).one()
        now, installed_at = clock.now, clock.created_at
        first, last = _period(since(now), min(until(now), now))
        pools, ids = _pools(connection, preset)
        span = Span(first, last, sorted(ids) if preset else None)
        _count(connection, span, pools, ids)
        latency, latencies = store.read_latencies(connection, span)
        ready, readies = store.read_times_to_ready(connection, span)
        width = bucket_width(first, last)
        curve = store.read_ready_curve(connection, span, width)
    for pool in pools.values():
        pool.latency, pool.ready = latencies.get(pool.key), readies.get(pool.key)
    shown = [pool for pool in pools.values() if pool.declared or pool.demand or pool.built or pool.failed or pool.idle]
    everything = [item for pool in shown for item in pool.demand]
    claims_since = max(first, installed_at, now - timedelta(seconds=settings.retention_events))
    builds_since = max(first, installed_at, now - timedelta(seconds=settings.retention_builds))
    return Report(
        since=first,
        until=last,
        claims_since=claims_since,
        builds_since=builds_since,
        total=_total(shown, latency, ready),
        heat=heat_map((item, zone_of(pool.timezone)) for pool in shown for item in pool.demand),
        pools=tuple(sorted((_pool_report(pool, last) for pool in shown), key=lambda pool: pool.name)),
        width=width,
        hit_curve=tuple(over_time(everything, width)),
        ready_curve=tuple(
            (datetime.fromtimestamp(bucket * width, UTC), percentiles) for bucket, percentiles in sorted(curve.items())
        ),
        notes=tuple(missing_data(first, installed_at, claims_since, builds_since)),
    )


def _period(first: datetime, last: datetime) -> tuple[datetime, datetime]:
    if first >= last:
        raise InputError(
            f"the period from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC is empty",
            remedy=Remedy(RemedyKind.CORRECT_PERIOD),
        )
    return first, last


def _count(connection: Connection, span: Span, pools: dict[PresetRef | None, _Pool], ids: Mapping[int, _Pool]) -> None:
    """Add requests, builds, waste and idle time to the pools. Four statements."""
    for preset_id, demand in store.read_demand(connection, span):
        pool = ids.get(preset_id or 0) or pools.setdefault(None, _Pool(None))
        pool.demand.append(demand)
    for (build_preset, status), count in store.read_outcomes(connection, span).items():
        ids[build_preset].built += count if status is BuildStatus.SUCCEEDED else 0
        ids[build_preset].failed += count if status is BuildStatus.FAILED else 0
    for (build_preset, reason), count in store.read_wasted(connection, span).items():
        ids[build_preset].wasted[reason] += count
    for build_preset, seconds in store.read_idle(connection, span).items():
        ids[build_preset].idle[build_preset] = seconds


def _pools(connection: Connection, preset: str) -> tuple[dict[PresetRef | None, _Pool], dict[int, _Pool]]:
    """Return the pools by name, and the same pools by the id of each of their presets. Two statements."""
    wanted = PresetRef.parse(preset) if preset else None
    conditions = [] if wanted is None else [m.Template.name == wanted.template, m.Preset.name == wanted.preset]
    if wanted and wanted.version:
        conditions.append(m.TemplateVersion.name == wanted.version)
    presets = read_declared(connection, *conditions)
    if wanted and not presets:
        resolve_preset(connection, preset)
    pools: dict[PresetRef | None, _Pool] = {}
    ids: dict[int, _Pool] = {}
    for item in presets:
        ref = PresetRef(*item.pool, wanted.version if wanted else None)
        pool = ids[item.preset_id] = pools.setdefault(ref, _Pool(ref, (item.template_id, item.pool.preset)))
        pool.costs[item.preset_id] = item.cost_per_hour
        declared = item.preset
        if is_active(declared):
            pool.declared = declared
        if is_active(declared) or not pool.declared:
            pool.timezone = declared.timezone
    return pools, ids


def _figures(pool: _Pool) -> Figures:
    hits, misses = (sum(getattr(item, name) for item in pool.demand) for name in ("hits", "misses"))
    costs = [seconds / 3600 * cost for key, seconds in pool.idle.items() if (cost := pool.costs.get(key)) is not None]
    return Figures(
        claims=hits + misses,
        hits=hits,
        misses=misses,
        hit_rate=hit_rate(hits, misses),
        cold_starts=sum(item.cold_starts for item in pool.demand),
        claim_latency_ms=pool.latency,
        time_to_ready_s=pool.ready,
        built=pool.built,
        failed_builds=pool.failed,
        wasted_builds=pool.wasted.total(),
        wasted_by_reason=dict(sorted(pool.wasted.items())),
        idle_hours=sum(pool.idle.values()) / 3600,
        idle_cost=sum(costs) if any(cost is not None for cost in pool.costs.values()) else None,
    )


def _total(pools: Iterable[_Pool], latency: Percentiles | None, ready: Percentiles | None) -> Figures:
    whole = _Pool(None, latency=latency, ready=ready)
    for pool in pools:
        whole.demand += pool.demand
        whole.built += pool.built
        whole.failed += pool.failed
        whole.wasted += pool.wasted
        whole.idle |= pool.idle
        whole.costs |= pool.costs
    return _figures(whole)


def _pool_report(pool: _Pool, now: datetime) -> PoolReport:
    zone = zone_of(pool.timezone)
    figures, heat = _figures(pool), heat_map((item, zone) for item in pool.demand)
    return PoolReport(
        preset=pool.ref,
        active=pool.declared is not None,
        timezone=pool.timezone or "UTC",
        cost_per_hour=next(reversed(pool.costs.values()), None),
        figures=figures,
        heat=heat,
        recommendations=tuple(recommend(_usage(pool, pool.declared, figures, heat, now))) if pool.declared else (),
    )


def _usage(pool: _Pool, declared: Preset, figures: Figures, heat: HeatMap, now: datetime) -> UsageSummary:
    busy, refill = busy_hours(heat.misses), pool.ready.p95 if pool.ready else float(QUARTER)
    return UsageSummary(
        hits=figures.hits,
        misses=figures.misses,
        peak=peak(pool.demand, refill),
        refill=refill,
        built=pool.built,
        failed=pool.failed,
        wasted=pool.wasted,
        idle_hours=figures.idle_hours,
        busy=busy,
        desired_then=desired_in(declared, busy, now) if busy else declared.desired,
        scheduled=bool(declared.schedules),
    )


def missing_data(
    since: datetime,
    began_at: datetime,
    claims_since: datetime,
    builds_since: datetime,
    begin: str = "this installation was created",
) -> list[str]:
    """Return sentences about the parts of the period without data, and why there is none.

    `begin` tells what happened at `began_at`, before which there was nothing.
    """
    if began_at > since and began_at >= max(claims_since, builds_since):
        return [f"data since {began_at:%Y-%m-%d %H:%M} UTC, when {begin}"]
    return [
        f"{subject} since {start:%Y-%m-%d %H:%M} UTC; older ones were deleted by {variable}"
        for subject, start, variable in (
            ("claims", claims_since, "PREBUILD_RETENTION_EVENTS"),
            ("builds and idle hours", builds_since, "PREBUILD_RETENTION_BUILDS"),
        )
        if start > since and start != began_at
    ]
