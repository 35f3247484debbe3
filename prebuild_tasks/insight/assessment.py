"""Assess pools for status, explain, plan and the metrics: their numbers, next turn and what holds them back.

The rules are those of the turn itself (`wants`, `next_turn`), applied without locks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from prebuild_tasks.config import Settings
from prebuild_tasks.fleet import Liveness, read_liveness
from prebuild_tasks.insight.explain.facts import Budget
from prebuild_tasks.messaging import BUILDS, DEFAULT, EVENTS, RECONCILE
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.reconcile import (
    ALONE,
    InFlight,
    LimitReason,
    Limits,
    NextTurn,
    OtherVersions,
    PoolRow,
    PoolVersion,
    PresetCounts,
    Quantities,
    Reason,
    ReconciliationState,
    SharedLimit,
    Starts,
    Usage,
    Wanted,
    WorkerAvailability,
    contenders,
    next_turn,
    read_usage,
    share_limits,
    sharers_among,
    wants,
    why_short,
    with_other_versions,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentContext:
    """The facts that all pools share at one instant, and those about the other versions of each pool."""

    now: datetime
    usage: Mapping[int, Usage]
    """Workspaces and builds in use, and their limits, by organization."""
    starts: Mapping[int, Starts]
    """Start builds in flight, by preset."""
    everywhere: int
    """Start builds in flight of all presets, without those on hold."""
    global_max: int
    """The setting PREBUILD_MAX_BUILDS_IN_FLIGHT; 0: no limit."""
    backoff_interval: timedelta
    hard_limit: int
    """The setting PREBUILD_FAILURE_HARD_LIMIT; 0: no limit."""
    workers: WorkerAvailability
    liveness: Liveness
    versions: Mapping[int, tuple[PoolVersion, OtherVersions]]
    """Each pool with its other versions, by preset. A preset that is missing is assessed alone, from its counts."""
    shared: Mapping[int, tuple[SharedLimit, ...]] = field(default_factory=dict)
    """The limits that the pools of an organization share, by organization."""

    def shared_by(self, pools: Sequence[PresetCounts]) -> AssessmentContext:
        """Return this context with the shared limits divided among these pools."""
        sharing = contenders(pools, self.starts, self.backoff_interval, self.now)
        return replace(self, shared=share_limits(self.usage, sharing, self.global_max))


class Assessment(NamedTuple):
    """The numbers of one pool, what its next turn does, and what holds it back."""

    wanted: Wanted
    next_turn: NextTurn
    reason: Reason
    """Why the pool lacks eligible prebuilds."""
    budget: Budget | None
    """The limit that allows no further creation at present."""

    @property
    def state(self) -> ReconciliationState:
        """The counts that the rules derive from the pool."""
        return self.wanted.state

    @property
    def turn(self) -> Quantities:
        """What the next turn does, as soon as there is a worker for it."""
        return self.next_turn.does

    @property
    def no_turn_reason(self) -> Reason | None:
        """Why the pool gets no turn at all: `paused` or `lost_turns`; None: it gets turns."""
        reason = self.next_turn.reason
        return reason if reason in (Reason.PAUSED, Reason.LOST_TURNS) else None

    @property
    def limited_by(self) -> LimitReason | None:
        """The limit that lets the next turn create only some of the wanted prebuilds; None: no limit does."""
        limit = self.next_turn.grant.limit
        return limit.reason if limit and self.turn.create else None

    @property
    def second_choices(self) -> int:
        """The number of outdated prebuilds that can be claimed as second choice until they are replaced."""
        return max(self.wanted.total.delete - self.wanted.turn.delete, 0)


def read_context(
    connection: Connection, settings: Settings, now: datetime, rows: Sequence[PoolRow] = ()
) -> AssessmentContext:
    """Read what `assess` needs, in a fixed number of statements.

    `rows` are pools in all their versions. Those that are being replaced gradually are assessed from their prebuilds
    instead of their counts, and shared limits are divided among all of them.
    """
    backoff_interval = timedelta(seconds=settings.backoff_interval)
    pools: dict[PoolName, list[PoolVersion]] = defaultdict(list)
    for row in rows:
        pools[row.ref.pool].append(PoolVersion.of_stored(row, backoff_interval, settings.failure_hard_limit))
    usage, starts = read_usage(connection)
    liveness = read_liveness(connection, settings, now)
    context = AssessmentContext(
        now=now,
        usage=usage,
        starts=starts,
        everywhere=sum(item.sharing for item in starts.values()),
        global_max=settings.max_builds_in_flight,
        backoff_interval=backoff_interval,
        hard_limit=settings.failure_hard_limit,
        workers=WorkerAvailability(
            control=not unserved(liveness, settings),
            builds=bool(liveness.serving(settings.queue(BUILDS))),
            scheduler=not liveness.tick_stale,
        ),
        liveness=liveness,
        versions=with_other_versions(connection, pools.values(), now),
    )
    return context.shared_by(sharers_among(rows, settings.max_builds_in_flight))


def unserved(liveness: Liveness, settings: Settings) -> tuple[str, ...]:
    """Return the queues of the reconciler that no worker consumes; while there is one, pools are not reconciled."""
    queues = (settings.queue(name) for name in (EVENTS, RECONCILE, DEFAULT))
    return tuple(queue for queue in queues if not liveness.serving(queue))


def assess(row: PoolRow, context: AssessmentContext) -> Assessment:
    """Assess one pool by the rules of its turn."""
    known = context.versions.get(row.preset_id)
    pool, others = known or (PoolVersion.of_stored(row, context.backoff_interval, context.hard_limit), ALONE)
    wanted = wants(pool, others, context.now)
    limits = _limits(row, context) if wanted.turn.create else None
    turn = next_turn(wanted, limits, context.now)
    limit, budget = turn.grant.limit, None
    if limit and not turn.grant.number:
        usage = context.usage[row.counted.organization_id]
        budget = Budget(limit.reason, limit.used, limit.most or 0, usage.name, usage.claimed, turn.grant.is_share)
    reason = why_short(wanted, turn, context.workers, row.failure)
    return Assessment(wanted, turn, reason, budget)


def _limits(row: PoolRow, context: AssessmentContext) -> Limits:
    organization_id = row.counted.organization_id
    starts = context.starts.get(row.preset_id, Starts())
    in_flight = InFlight(starts.in_flight, context.everywhere, context.usage[organization_id])
    limits = in_flight.limits(
        max_in_flight=row.counted.max_builds_in_flight,
        slow_start=row.counted.slow_start,
        max_everywhere=context.global_max,
    )
    return replace(limits, shared=context.shared.get(organization_id, ()))
