"""Assess pools for status, explain, plan and the metrics: their numbers, their next turn, what holds them back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from prebuild_tasks.config import Settings
from prebuild_tasks.fleet.liveness import Liveness, read_liveness
from prebuild_tasks.insight.explain.facts import Budget
from prebuild_tasks.messaging.publisher import BUILDS, DEFAULT, EVENTS, RECONCILE
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.reconcile.rules.limits import (
    Grant,
    LimitReason,
    Limits,
    SharedLimit,
    Usage,
    contender,
    share_limits,
)
from prebuild_tasks.reconcile.rules.model import PresetCounts, ReconciliationState
from prebuild_tasks.reconcile.rules.next_turn import next_turn
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.rules.rollout import ALONE, OtherVersions, Rolling, outdated
from prebuild_tasks.reconcile.rules.shortage import WorkerAvailability, why_short
from prebuild_tasks.reconcile.rules.wants import (
    PoolVersion,
    Quantities,
    Wanted,
    is_replacing,
    other_versions,
    wants,
)
from prebuild_tasks.reconcile.store.in_flight import SHARED_BY_AT_MOST, read_usage
from prebuild_tasks.reconcile.store.siblings import read_running
from prebuild_tasks.reconcile.store.snapshots import PoolRow


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentContext:
    """What is the same for all pools at one instant, and what pools must know of each other."""

    now: datetime
    usage: Mapping[int, Usage]
    """By organization."""
    in_flight: Mapping[int, int]
    """Start builds in flight by preset."""
    everywhere: int
    """Start builds in flight of all presets."""
    global_max: int
    backoff_interval: timedelta
    workers: WorkerAvailability
    liveness: Liveness
    replacing: Mapping[int, tuple[PoolVersion, OtherVersions]]
    """By preset, versions of pools that are being replaced gradually, from their rows."""
    shared: Mapping[int, tuple[SharedLimit, ...]] = field(default_factory=dict)
    """By organization, the limits that its pools share."""

    def shared_by(self, pools: Sequence[PresetCounts]) -> AssessmentContext:
        """Return this context with the limits divided among these pools, once for all of them."""
        contenders = [
            contender(item, self.in_flight.get(int(item.preset.id), 0), self.now, self.backoff_interval)
            for item in pools
        ]
        return replace(self, shared=share_limits(self.usage, contenders, self.global_max))


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """One pool's numbers, what its next turn does, and what holds it back."""

    wanted: Wanted
    grant: Grant
    """How many creations the limits let through."""
    reason: Reason
    budget: Budget | None
    """The limit that lets nothing more through at present."""

    @property
    def state(self) -> ReconciliationState:
        return self.wanted.state

    @property
    def turn(self) -> Quantities:
        """What its next turn does, when it comes and may."""
        return self.wanted.turn._replace(create=self.grant.count)

    @property
    def cut_by(self) -> LimitReason | None:
        """The limit that lets only a part of the creations through."""
        return self.grant.limit.reason if self.grant.limit and self.grant.count else None

    @property
    def stand_in(self) -> int:
        """How many are to go once they are replaced, and can be claimed as second choice until then."""
        return max(self.wanted.total.delete - self.wanted.turn.delete, 0)


def read_context(
    connection: Connection, settings: Settings, now: datetime, rows: Sequence[PoolRow] = ()
) -> AssessmentContext:
    """Read what `assess` needs, in a fixed number of statements.

    `rows` are pools in all their versions: those that are being replaced gradually are assessed by their prebuilds, and
    limits are divided among them.
    """
    usage, in_flight = read_usage(connection)
    liveness = read_liveness(connection, settings, now)
    context = AssessmentContext(
        now=now,
        usage=usage,
        in_flight=in_flight,
        everywhere=sum(in_flight.values()),
        global_max=settings.max_builds_in_flight,
        backoff_interval=timedelta(seconds=settings.backoff_interval),
        workers=WorkerAvailability(
            control=not unserved(liveness, settings),
            builds=bool(liveness.serving(settings.queue(BUILDS))),
            scheduler=not liveness.tick_stale,
        ),
        liveness=liveness,
        replacing=_read_replacing(connection, rows, settings, now),
    )
    return context.shared_by(_sharers(rows, everywhere=bool(settings.max_builds_in_flight)))


def unserved(liveness: Liveness, settings: Settings) -> tuple[str, ...]:
    """Return the queues without which no decision is made, and that nobody consumes."""
    queues = (settings.queue(name) for name in (EVENTS, RECONCILE, DEFAULT))
    return tuple(queue for queue in queues if not liveness.serving(queue))


def assess(row: PoolRow, context: AssessmentContext) -> Assessment:
    """Assess one pool, by the rules of its turn."""
    pool, others = context.replacing.get(row.preset_id) or (_pool(row, context.backoff_interval), ALONE)
    wanted = wants(pool, others, context.now)
    limits = _limits(row, context) if wanted.turn.create else None
    turn = next_turn(wanted, limits, context.now)
    limit, budget = turn.grant.limit, None
    if limit and not turn.grant.count:
        usage = context.usage[row.counted.organization_id]
        budget = Budget(limit.reason, limit.used, limit.most or 0, usage.name, usage.claimed, turn.grant.is_share)
    reason = why_short(wanted, turn, context.workers, row.failure)
    return Assessment(wanted=wanted, grant=turn.grant, reason=reason, budget=budget)


def _limits(row: PoolRow, context: AssessmentContext) -> Limits:
    organization_id = row.counted.organization_id
    return Limits(
        in_flight=context.in_flight.get(row.preset_id, 0),
        max_in_flight=row.counted.max_builds_in_flight,
        slow_start=row.counted.slow_start,
        organization=context.usage[organization_id],
        everywhere=context.everywhere,
        max_everywhere=context.global_max,
        shared=context.shared.get(organization_id, ()),
    )


def _pool(row: PoolRow, backoff_interval: timedelta) -> PoolVersion:
    # No hard limit: a pool is told to be hard-limited once its turn has written so.
    return PoolVersion(
        preset=row.preset,
        counts=row.counts,
        rolling=Rolling(row.max_surge, row.ready_timeout) if row.rolling else None,
        failures=row.counted.failures,
        backoff_interval=backoff_interval,
        status=row.status,
        paused=row.paused is not None,
        rests_until=row.rests_until,
    )


def _read_replacing(
    connection: Connection, rows: Sequence[PoolRow], settings: Settings, now: datetime
) -> dict[int, tuple[PoolVersion, OtherVersions]]:
    """Read the prebuilds of pools that are being replaced gradually. One statement, and none where none is."""
    interval = timedelta(seconds=settings.backoff_interval)
    pools: dict[str, list[PoolVersion]] = defaultdict(list)
    for row in rows:
        pools[row.ref.partition("@")[0]].append(_pool(row, interval))
    replacing = [versions for versions in pools.values() if is_replacing(versions)]
    if not replacing:
        return {}
    running = read_running(connection, [int(item.preset.id) for versions in replacing for item in versions])
    found: dict[int, tuple[PoolVersion, OtherVersions]] = {}
    for versions in replacing:
        with_rows = [
            replace(item, outdated=outdated(item.preset, running.get(int(item.preset.id), ()), item.rolling, now))
            for item in versions
        ]
        others = other_versions(with_rows, now)
        found.update({int(item.preset.id): (item, others[item.preset.id]) for item in with_rows})
    return found


def _sharers(rows: Sequence[PoolRow], *, everywhere: bool) -> list[PresetCounts]:
    """Return the pools that share limits: with all others where one is global, else within their organization."""
    groups: dict[int, list[PoolRow]] = defaultdict(list)
    for row in rows:
        if row.preset.active and row.status is PresetStatus.HEALTHY:
            groups[0 if everywhere else row.counted.organization_id].append(row)
    found = (group for group in groups.values() if 1 < len(group) <= SHARED_BY_AT_MOST)
    return [row.counted for group in found for row in group if row.paused is None]
