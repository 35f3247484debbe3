"""Gather the facts about one pool and explain them, for `prebuild explain`.

Nothing is written, and Redis is optional.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection

from prebuild_tasks.access import EVERYTHING, Reach
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.fleet import Liveness
from prebuild_tasks.insight.assessment import AssessmentContext, assess, read_context, unserved
from prebuild_tasks.insight.explain import store
from prebuild_tasks.insight.explain.facts import Facts, Processes
from prebuild_tasks.insight.explain.pauses import pause_of
from prebuild_tasks.insight.explain.rules import Explanation, explain, is_ttl_too_short
from prebuild_tasks.messaging import BUILDS, DEFAULT, EVENTS, RECONCILE
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.reconcile import (
    Lock,
    Locks,
    PoolRow,
    Reason,
    read_pools,
    read_sharers,
    read_versions,
    shared_within,
)
from prebuild_tasks.schema.lookup import resolve_preset
from prebuild_tasks.schema.rules import is_active


@dataclass(frozen=True, slots=True)
class Explained:
    """The facts about a pool, and the explanation of its state."""

    preset_id: int
    facts: Facts
    explanation: Explanation

    def with_lock(self, lock: Lock) -> Explained:
        """Return the explanation with what Redis tells about the pool's turn."""
        facts = replace(self.facts, lock=lock)
        return replace(self, facts=facts, explanation=explain(facts))


def explain_preset(
    database: Database, settings: Settings, locks: Locks | None, name: str, reach: Reach = EVERYTHING
) -> Explained:
    """Explain the state of the preset named by its id or `template/preset[@version]`. Raises NotFoundError.

    Only workspaces within reach are named.

    This takes a fixed number of statements and one round trip to Redis. Without `locks`, or when Redis does not answer,
    only the facts from Redis are missing.
    """
    with database.snapshot() as connection:
        preset_id = resolve_preset(connection, name)
        versions = read_versions(connection, preset_id)
        now, rows = read_pools(database, connection, settings.backoff_lookback, only=versions)
        [row] = [item for item in rows if item.preset_id == preset_id]
        context = read_context(connection, settings, now, rows)
        usage = context.usage[row.counted.organization_id]
        if context.global_max or usage.is_limited:
            scope = shared_within(row.counted.organization_id, context.global_max)
            context = context.shared_by(read_sharers(connection, now, settings.backoff_lookback, scope))
        facts = _facts(connection, settings, row, context, reach)
    explained = Explained(preset_id, facts, explain(facts))
    return explained if locks is None else explained.with_lock(look_at_turn(locks, settings, preset_id))


def look_at_turn(locks: Locks, settings: Settings, preset_id: int) -> Lock:
    """Return who holds the lock of a preset, and how many messages wait in each queue. One round trip to Redis."""
    return locks.look(str(preset_id), [settings.queue(item) for item in (EVENTS, RECONCILE, DEFAULT, BUILDS)])


def _facts(connection: Connection, settings: Settings, row: PoolRow, context: AssessmentContext, reach: Reach) -> Facts:
    assessment = assess(row, context)
    usual = store.read_usual(connection, row.preset_id)
    reason = assessment.reason
    if reason in (Reason.STARTING, Reason.NOT_YET) and is_ttl_too_short(row.preset.ttl, usual):
        reason = Reason.TTL_TOO_SHORT
    is_held_back = assessment.wanted.turn.create < assessment.wanted.total.create
    return Facts(
        now=context.now,
        ref=row.ref,
        counted=row.counted,
        state=assessment.state,
        missing=assessment.wanted.total.create,
        turn=assessment.turn,
        second_choices=assessment.second_choices,
        of_other_versions=context.versions[row.preset_id][1].second_choices if is_active(row.preset) else 0,
        surge=row.rolling.max_surge if row.rolling and is_held_back else None,
        limited_by=assessment.limited_by,
        reason=reason,
        activation=store.read_activation(connection, row.preset_id, context.now),
        processes=_processes(
            settings,
            context,
            store.read_bound(connection, row.preset_id),
            store.read_prebuild_hosts(connection, row.preset_id),
        ),
        backs_off_until=assessment.next_turn.backs_off_until,
        pause=pause_of(row),
        # A pool that has failed too often is explained as its turn will find it, not as its status was stored.
        status=PresetStatus.HARD_LIMITED if assessment.reason is Reason.HARD_LIMITED else row.status,
        status_reason=row.status_reason,
        lost_turns=row.lost_turns,
        rests_until=row.rests_until,
        failures_in_row=row.failures_in_row,
        hard_limit=settings.failure_hard_limit,
        last_error=row.last_error,
        budget=assessment.budget,
        in_flight=store.read_open_starts(connection, row.preset_id),
        failed=store.read_failed(connection, row.preset_id),
        usual=usual,
        failed_probes=store.read_failed_probes(connection, row.preset_id),
        doubted=store.read_doubted(connection, row.preset_id),
        failed_deletions=store.read_failed_deletions(connection, row.preset_id, reach),
        failed_kept=row.failed,
        holding=store.read_holding(connection, row.counted.organization_id, reach)
        if assessment.reason is Reason.QUOTA
        else (),
    )


def _processes(
    settings: Settings, context: AssessmentContext, bound: Collection[str], of_prebuilds: Collection[str]
) -> Processes:
    liveness = context.liveness

    def silent(hosts: Collection[str]) -> tuple[str, ...]:
        return tuple(sorted(host for host in hosts if not liveness.serving(settings.queue(BUILDS, host))))

    age = liveness.tick_age
    return Processes(
        workers=context.workers,
        unserved=unserved(liveness, settings),
        builds_queue=settings.queue(BUILDS),
        silent_hosts=silent(bound),
        silent_prebuilds=silent(of_prebuilds),
        worker_seen=_last_seen(liveness, settings.queue(EVENTS)),
        builds_seen=_last_seen(liveness, settings.queue(BUILDS)),
        tick_age=None if age is None else timedelta(seconds=age),
        tick_interval=timedelta(seconds=settings.reconcile_interval),
    )


def _last_seen(liveness: Liveness, queue: str) -> timedelta | None:
    """Return how long ago a process that consumes the queue was last seen; None: never."""
    ages = [process.age for process in liveness.processes if queue in process.queues]
    return timedelta(seconds=min(ages)) if ages else None
