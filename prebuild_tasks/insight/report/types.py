"""The report and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from prebuild_tasks.insight.report.advice import Recommendation
from prebuild_tasks.insight.report.rules import HeatMap
from prebuild_tasks.insight.report.store import Percentiles
from prebuild_tasks.model.names import PresetRef

REMOVED = "(removed)"
"""The name for all deleted pools together."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one pool, or of all pools together."""

    claims: int
    """Requests to claim; a repeated request counts once."""
    hits: int
    misses: int
    hit_rate: float | None
    """0 to 1; None: there were no requests."""
    cold_starts: int
    """Misses for which a workspace was started for the owner."""
    claim_latency_ms: Percentiles | None
    """Durations of hits, in milliseconds."""
    time_to_ready_s: Percentiles | None
    """Durations of start builds in seconds, from the decision on: waiting for a worker is included."""
    built: int
    """Start builds that succeeded."""
    failed_builds: int
    """Start builds that failed."""
    wasted_builds: int
    """Prebuilds that were ready and were deleted unclaimed."""
    wasted_by_reason: Mapping[str, int]
    idle_hours: float
    """Hours for which prebuilds were ready and unclaimed, summed over prebuilds."""
    idle_cost: float | None
    """In the currency of `cost_per_hour`; None: no pool declares one."""


@dataclass(frozen=True, slots=True)
class PoolReport:
    """The report on one pool."""

    preset: PresetRef | None
    """None: all deleted pools together, of which only claim events are left."""
    active: bool
    """Whether the active version of its template has it."""
    timezone: str
    cost_per_hour: float | None
    figures: Figures
    heat: HeatMap
    """Requests by weekday and hour, in the timezone of the pool."""
    recommendations: tuple[Recommendation, ...] = ()

    @property
    def name(self) -> str:
        """Its name for readers of the report."""
        return REMOVED if self.preset is None else str(self.preset)


@dataclass(frozen=True, slots=True)
class Report:
    """The report on all pools, from `since` up to `until`."""

    since: datetime
    until: datetime
    claims_since: datetime
    """Since when there is data about claims: later than `since` if older data was deleted or never existed."""
    builds_since: datetime
    """Since when there is data about builds."""
    total: Figures
    heat: HeatMap
    """Requests by weekday and hour, each in the timezone of its pool."""
    pools: tuple[PoolReport, ...]
    width: int
    """Seconds per point of the two curves."""
    hit_curve: tuple[tuple[datetime, int, int], ...]
    """(begin, hits, misses) of each span with requests."""
    ready_curve: tuple[tuple[datetime, Percentiles], ...]
    """(begin, seconds until ready) of each span in which a build succeeded."""
    notes: tuple[str, ...]
    """Sentences about missing data."""
