"""The last day or week of one pool over time: claims, time to ready, and its stock beside what was desired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ScalarSelect, func, select

from prebuild_tasks.access import Reach
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.report import store
from prebuild_tasks.insight.report.compile import missing_data
from prebuild_tasks.insight.report.rules import IdleChange, bucket_width, idle_over_time, over_time
from prebuild_tasks.insight.report.store import Percentiles, Span
from prebuild_tasks.insight.status.pages import seen_presets
from prebuild_tasks.insight.status.week import SizeSpan, size_spans
from prebuild_tasks.reconcile import read_declared
from prebuild_tasks.schema import tables as m


@dataclass(frozen=True, slots=True)
class StockPoint:
    """The ready, unclaimed prebuilds of a span of time."""

    at: datetime
    """The begin of the span; that of the first is where the data begin."""
    eligible: float
    """The mean number, an estimate of the eligible prebuilds; `read_idle_changes` tells what it leaves out."""
    idle_hours: float
    """Hours for which they were ready and unclaimed, summed over prebuilds."""
    idle_cost: float | None
    """In the currency of `cost_per_hour`; None: the pool declares none."""


@dataclass(frozen=True, slots=True)
class PoolCurves:
    """A pool from `since` up to `until`, in spans of `width` seconds."""

    since: datetime
    until: datetime
    width: int
    hits: tuple[tuple[datetime, int, int], ...]
    """(begin, hits, misses) of each span with requests."""
    ready: tuple[tuple[datetime, Percentiles], ...]
    """(begin, seconds until ready) of each span in which a build succeeded."""
    stock: tuple[StockPoint, ...]
    """Without gaps, from the first instant for which there are data."""
    desired: tuple[SizeSpan, ...]
    """As the pool is declared now: former declarations and pauses are left out."""
    notes: tuple[str, ...]
    """Sentences about missing data."""


def pool_curves(database: Database, settings: Settings, reach: Reach, name: str, period: timedelta) -> PoolCurves:
    """Read the last `period` of the pool `template/preset`, or of one version of it.

    A fixed number of statements. Raises NotFoundError for a pool that does not exist, or is out of reach.
    """
    with database.snapshot() as connection:
        ids = seen_presets(connection, reach, name)
        clock = connection.execute(
            select(database.now_column(), m.Installation.created_at, _declared_at(ids).label("declared_at"))
        ).one()
        since, until, began_at = clock.now - period, clock.now, max(clock.created_at, clock.declared_at)
        claims_since = max(since, began_at, until - timedelta(seconds=settings.retention_events))
        builds_since = max(since, began_at, until - timedelta(seconds=settings.retention_builds))
        width = bucket_width(since, until)
        span = Span(since, until, ids)
        demand = [item for _, item in store.read_demand(connection, span)]
        ready = store.read_ready_curve(connection, span, width)
        stocked = Span(builds_since, until, ids)
        changes = store.read_idle_changes(connection, stocked, width)
        declared = {item.preset_id: item for item in read_declared(connection, m.Preset.id.in_(ids))}
    costs = {key: item.cost_per_hour for key, item in declared.items() if item.cost_per_hour is not None}
    oldest = "the oldest version of this pool was declared"
    begin = oldest if began_at > clock.created_at else "this installation was created"
    return PoolCurves(
        since=since,
        until=until,
        width=width,
        hits=tuple(over_time(demand, width)),
        ready=tuple((_begin(bucket, width), percentiles) for bucket, percentiles in sorted(ready.items())),
        stock=tuple(_stock(changes, costs, stocked, width)),
        desired=tuple(size_spans(declared[ids[-1]].preset, since, until)),
        notes=tuple(missing_data(since, began_at, claims_since, builds_since, begin)),
    )


def _declared_at(preset_ids: Sequence[int]) -> ScalarSelect[datetime]:
    """Select when the first of the presets was declared."""
    table = m.TemplateVersion
    versions = select(m.Preset.template_version_id).where(m.Preset.id.in_(preset_ids))
    return select(func.min(table.created_at)).where(table.id.in_(versions)).scalar_subquery()


def _stock(
    changes: dict[tuple[int, int], IdleChange], costs: dict[int, float], span: Span, width: int
) -> list[StockPoint]:
    by_preset: defaultdict[int, dict[int, IdleChange]] = defaultdict(dict)
    for (preset_id, bucket), change in changes.items():
        by_preset[preset_id][bucket] = change
    first, last = (int(at.timestamp() // width) for at in (span.since, span.until))
    seconds = {key: idle_over_time(items, first, last, width) for key, items in by_preset.items()}
    points = []
    for place, bucket in enumerate(range(first, last + 1)):
        begin = max(_begin(bucket, width), span.since)
        covered = (min(_begin(bucket + 1, width), span.until) - begin).total_seconds()
        if covered <= 0:
            continue
        idle = sum(items[place] for items in seconds.values())
        cost = sum(items[place] / 3600 * costs.get(key, 0.0) for key, items in seconds.items())
        points.append(StockPoint(begin, idle / covered, idle / 3600, cost if costs else None))
    return points


def _begin(bucket: int, width: int) -> datetime:
    return datetime.fromtimestamp(bucket * width, UTC)
