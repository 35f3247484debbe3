"""What people see of a pool: its numbers, what happens to it next, and what holds it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from prebuild_tasks.config import Settings
from prebuild_tasks.core.actions import Quantities, quantities
from prebuild_tasks.core.backoff import backoff_until
from prebuild_tasks.core.facts import Budget
from prebuild_tasks.core.limits import LimitReason, cap_creations
from prebuild_tasks.core.model import ReconciliationState
from prebuild_tasks.core.reasons import Reason, Staff, why_short
from prebuild_tasks.core.schedule import next_change
from prebuild_tasks.core.state import compute_state
from prebuild_tasks.messages import BUILDS, DEFAULT, EVENTS, RECONCILE
from prebuild_tasks.services.liveness import Liveness, read_liveness
from prebuild_tasks.storage.budgets import Usage, read_usage
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.snapshots import PoolRow, read_pools


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """One line of `prebuild status`."""

    preset: str
    desired: int
    eligible: int
    starting: int
    deleting: int
    failed: int
    failed_deletions: int
    reason: str
    """A code of core.reasons.Reason: why it is short; `none` when it is not."""
    next_action: str
    last_error: str

    @property
    def full(self) -> bool:
        return self.eligible >= self.desired

    def report(self) -> dict[str, Any]:
        """By name, as it is printed."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Scene:
    """What all pools share at one instant."""

    now: datetime
    usage: dict[int, Usage]
    in_flight: dict[int, int]
    global_max: int
    backoff_interval: timedelta
    staff: Staff
    liveness: Liveness


@dataclass(frozen=True, slots=True)
class Judgement:
    """One pool's numbers, what its next decision would do, and what holds it back."""

    state: ReconciliationState
    amount: Quantities
    reason: Reason
    budget: Budget | None
    """The limit that lets nothing more through at present."""


def pools(database: Database, settings: Settings) -> list[PoolStatus]:
    """Every pool, by name. A fixed number of statements."""
    with database.snapshot() as connection:
        now, rows = read_pools(database, connection, settings.backoff_lookback)
        scene = read_scene(connection, settings, now)
    return [pool_status(row, scene) for row in rows]


def read_scene(connection: Connection, settings: Settings, now: datetime) -> Scene:
    """A fixed number of statements."""
    usage, in_flight = read_usage(connection)
    liveness = read_liveness(connection, settings, now)
    return Scene(
        now=now,
        usage=usage,
        in_flight=in_flight,
        global_max=settings.max_builds_in_flight,
        backoff_interval=timedelta(seconds=settings.backoff_interval),
        staff=Staff(
            worker=not unserved(liveness, settings),
            builds=bool(liveness.serving(settings.queue(BUILDS))),
            ticking=not liveness.tick_stale,
        ),
        liveness=liveness,
    )


def unserved(liveness: Liveness, settings: Settings) -> tuple[str, ...]:
    """The queues without which no decision is made, and that nobody consumes."""
    queues = (settings.queue(name) for name in (EVENTS, RECONCILE, DEFAULT))
    return tuple(queue for queue in queues if not liveness.serving(queue))


def judge(row: PoolRow, scene: Scene) -> Judgement:
    """What status, explain, plan and the metrics say of a pool: one judgement for all."""
    state = compute_state(row.preset, row.counts, scene.now)
    amount = quantities(row.preset, row.counts, state.desired)
    budget = _budget(row, amount.create, scene)
    reason = why_short(
        row.counted,
        state,
        amount.create,
        scene.now,
        paused=row.paused is not None,
        status=row.status,
        backoff_interval=scene.backoff_interval,
        limit=budget.limit if budget else None,
        staff=scene.staff,
        resting=row.rests_until is not None,
        failure=row.failure,
    )
    return Judgement(state, amount, reason, budget)


def pool_status(row: PoolRow, scene: Scene) -> PoolStatus:
    """One line of `prebuild status`."""
    judged = judge(row, scene)
    return PoolStatus(
        preset=row.ref,
        desired=judged.state.desired,
        eligible=judged.state.eligible,
        starting=judged.state.starting,
        deleting=judged.state.deleting,
        failed=row.failed,
        failed_deletions=row.failed_deletions,
        reason=judged.reason.value,
        next_action=_next_action(row, judged, scene),
        last_error=row.status_reason or row.last_error,
    )


def _budget(row: PoolRow, missing: int, scene: Scene) -> Budget | None:
    usage = scene.usage[row.counted.organization_id]
    in_flight = scene.in_flight.get(row.preset_id, 0)
    everywhere = sum(scene.in_flight.values()) if scene.global_max else 0
    capped = cap_creations(
        missing,
        preset_in_flight=in_flight,
        preset_max=row.counted.max_builds_in_flight,
        organization_in_flight=usage.builds_in_flight,
        organization_max=usage.max_builds_in_flight,
        global_in_flight=everywhere,
        global_max=scene.global_max or None,
        organization_workspaces=usage.workspaces,
        organization_max_workspaces=usage.max_workspaces,
        slow_start_limit=row.counted.slow_start,
    )
    if not missing or capped.count or capped.reason is None:
        return None
    used, most = {
        LimitReason.SLOW_START: (in_flight, row.counted.slow_start),
        LimitReason.PRESET_BUILDS: (in_flight, row.counted.max_builds_in_flight),
        LimitReason.ORGANIZATION_BUILDS: (usage.builds_in_flight, usage.max_builds_in_flight),
        LimitReason.GLOBAL_BUILDS: (everywhere, scene.global_max),
        LimitReason.QUOTA: (usage.workspaces, usage.max_workspaces),
    }[capped.reason]
    return Budget(capped.reason, used, most or 0, usage.name, usage.claimed)


def _next_action(row: PoolRow, judged: Judgement, scene: Scene) -> str:
    if row.paused:
        until = row.paused.get("until")
        return f"paused by {row.paused.get('by', 'somebody')}" + (f" until {until}" if until else "")
    amount, state = judged.amount, judged.state
    verb = "replace" if row.rolling and row.counts.expired else "delete"
    parts = [f"{verb} {amount.delete}"] if amount.delete else []
    parts += [f"cancel {amount.cancel}"] if amount.cancel else []
    if amount.create:
        parts.append(_creation(row, judged, scene))
    elif state.starting:
        parts.append(f"wait for {state.starting}" + _but(row, judged.reason))
    if row.failed_deletions:
        parts.append(f"delete {row.failed_deletions} again")
    if not parts and row.preset.active and (change := next_change(row.preset, scene.now)):
        parts.append(f"desired {change[1]} at {change[0].astimezone():%a %H:%M}")
    return ", ".join(parts)


def _creation(row: PoolRow, judged: Judgement, scene: Scene) -> str:
    missing, reason, budget = judged.amount.create, judged.reason, judged.budget
    if reason in (Reason.HARD_LIMITED, Reason.VALIDATION_FAILED):
        return reason.value.replace("_", " ")
    if reason is Reason.BACKOFF:
        until = backoff_until(row.counted.failures, scene.backoff_interval, scene.now)
        return f"back off until {until.astimezone():%H:%M:%S}" if until else "back off"
    if budget is None or reason.value != budget.limit.value:
        return f"create {missing}" + _but(row, reason)
    used = f"{budget.used} of {budget.most}"
    match budget.limit:
        case LimitReason.QUOTA:
            return f"quota: {used} workspaces of {budget.organization} in use, {budget.claimed} claimed"
        case LimitReason.ORGANIZATION_BUILDS:
            return f"wait: {used} builds of {budget.organization} in flight"
        case LimitReason.GLOBAL_BUILDS:
            return f"wait: {used} builds in flight"
        case LimitReason.PRESET_BUILDS | LimitReason.SLOW_START:
            words = "after a failure" if budget.limit is LimitReason.SLOW_START else "of this pool"
            return f"wait: {budget.used} builds {words} in flight, {missing} to go"


def _but(row: PoolRow, reason: Reason) -> str:
    """What makes an action wait, or doubtful."""
    match reason:
        case Reason.NO_WORKER:
            return ", but no worker is alive"
        case Reason.NO_BUILDS_WORKER:
            return ", but no builds worker is alive"
        case Reason.TICK_STALE:
            return ", but no tick comes"
        case Reason.LOST_TURNS:
            until = f" until {row.rests_until.astimezone():%H:%M:%S}" if row.rests_until else ""
            return f", but it rests{until}: its last turns ended with their process"
        case Reason.FAILING | Reason.NEVER_READY:
            return f", after {row.failures_in_row} failed"
        case _:
            return ""
