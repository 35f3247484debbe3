"""What people see of a pool: its numbers, what happens to it next, and what holds it back."""

from __future__ import annotations

from dataclasses import dataclass

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.assessment import Assessment, AssessmentContext, assess, read_context
from prebuild_tasks.insight.explain.facts import Budget
from prebuild_tasks.model.text import local
from prebuild_tasks.reconcile import LimitReason, PoolRow, Reason, backoff_until, next_change, read_pools


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


def pools(database: Database, settings: Settings) -> list[PoolStatus]:
    """Every pool, by name. A fixed number of statements."""
    with database.snapshot() as connection:
        now, rows = read_pools(database, connection, settings.backoff_lookback)
        context = read_context(connection, settings, now, rows)
    return [pool_status(row, context) for row in rows]


def pool_status(row: PoolRow, context: AssessmentContext) -> PoolStatus:
    """One line of `prebuild status`."""
    assessment = assess(row, context)
    return PoolStatus(
        preset=row.ref,
        desired=assessment.state.desired,
        eligible=assessment.state.eligible,
        starting=assessment.state.starting,
        deleting=assessment.state.deleting,
        failed=row.failed,
        failed_deletions=row.failed_deletions,
        reason=assessment.reason.value,
        next_action=_next_action(row, assessment, context),
        last_error=row.status_reason or row.last_error,
    )


def _next_action(row: PoolRow, assessment: Assessment, context: AssessmentContext) -> str:
    if row.paused:
        until = row.paused.get("until")
        return f"paused by {row.paused.get('by', 'somebody')}" + (f" until {until}" if until else "")
    turn, standing = assessment.turn, assessment.stand_in
    parts = []
    if standing:
        parts.append(f"replace {standing}" if row.preset.active else f"{standing} can be claimed until replaced")
    parts += [f"delete {turn.delete}"] if turn.delete else []
    parts += [f"cancel {turn.cancel}"] if turn.cancel else []
    if assessment.wanted.turn.create:
        parts.append(_creation(row, assessment, context))
    elif assessment.state.starting:
        parts.append(f"wait for {assessment.state.starting}" + _but(row, assessment.reason))
    if row.failed_deletions:
        parts.append(f"delete {row.failed_deletions} again")
    if not parts and row.preset.active and (change := next_change(row.preset, context.now)):
        parts.append(f"desired {change[1]} at {local(change[0], context.now, row.preset.timezone)}")
    return ", ".join(parts)


def _creation(row: PoolRow, assessment: Assessment, context: AssessmentContext) -> str:
    reason, budget = assessment.reason, assessment.budget
    missing = max(assessment.wanted.total.create, assessment.wanted.turn.create)
    if reason in (Reason.HARD_LIMITED, Reason.VALIDATION_FAILED):
        return reason.value.replace("_", " ")
    if reason is Reason.BACKOFF:
        until = backoff_until(row.counted.failures, context.backoff_interval, context.now)
        return f"back off until {until.astimezone():%H:%M:%S}" if until else "back off"
    if budget is None:
        create = assessment.turn.create
        return f"create {create}" + (f" of {missing}" if create < missing else "") + _but(row, reason)
    others = ", what is left is for others" if budget.others else ""
    return _limited(budget, missing) + others + _but(row, reason)


def _limited(budget: Budget, missing: int) -> str:
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
