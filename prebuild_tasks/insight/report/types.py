"""What `prebuild report` answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from prebuild_tasks.insight.report.advice import Recommendation
from prebuild_tasks.insight.report.rules import HeatMap
from prebuild_tasks.insight.report.store import Percentiles


@dataclass(frozen=True, slots=True)
class Figures:
    """What happened to one pool, or to all."""

    claims: int
    """Requests; each counts once, however often it was repeated."""
    hits: int
    misses: int
    hit_rate: float | None
    """0 to 1; None: nobody asked."""
    cold_starts: int
    """Misses for whose owner a workspace was begun."""
    claim_latency_ms: Percentiles | None
    """Of hits."""
    time_to_ready_s: Percentiles | None
    """Of start builds, from the decision on: waiting for a worker included."""
    built: int
    failed_builds: int
    wasted_builds: int
    """Ready once, never claimed, deleted."""
    wasted_by_reason: Mapping[str, int]
    idle_hours: float
    """Ready and unclaimed, summed over prebuilds."""
    idle_cost: float | None
    """In the currency of `cost_per_hour`; None where no pool declares one."""


@dataclass(frozen=True, slots=True)
class PoolReport:
    """One pool."""

    preset: str
    active: bool
    timezone: str
    cost_per_hour: float | None
    figures: Figures
    heat: HeatMap
    """In the pool's own timezone."""
    recommendations: tuple[Recommendation, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All of it, from `since` up to `until`."""

    since: datetime
    until: datetime
    claims_since: datetime
    builds_since: datetime
    """From when on there is data: later than `since` where retention took the rest, or nothing was there yet."""
    total: Figures
    heat: HeatMap
    """Each pool's requests at its own local time."""
    pools: tuple[PoolReport, ...]
    width: int
    """Seconds per point of the two curves."""
    hit_curve: tuple[tuple[datetime, int, int], ...]
    """Hits and misses by time."""
    ready_curve: tuple[tuple[datetime, Percentiles], ...]
    notes: tuple[str, ...]
