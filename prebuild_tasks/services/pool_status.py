"""What people see of a pool: its numbers, what happens to it next, and what holds it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from prebuild_tasks.config import Settings
from prebuild_tasks.core.actions import Quantities, quantities
from prebuild_tasks.core.backoff import backoff_until
from prebuild_tasks.core.limits import LimitReason, cap_creations
from prebuild_tasks.core.model import ReconciliationState
from prebuild_tasks.core.reasons import Reason, why_short
from prebuild_tasks.core.schedule import next_change
from prebuild_tasks.core.state import compute_state
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


@dataclass(frozen=True, slots=True)
class _Scene:
    """What all pools share at this instant."""

    now: datetime
    usage: dict[int, Usage]
    in_flight: dict[int, int]
    global_max: int
    backoff_interval: timedelta


def pools(database: Database, settings: Settings) -> list[PoolStatus]:
    """Every pool, by name. A fixed number of statements."""
    with database.snapshot() as connection:
        now, rows = read_pools(database, connection, settings.backoff_lookback)
        usage, in_flight = read_usage(connection)
    interval = timedelta(seconds=settings.backoff_interval)
    scene = _Scene(now, usage, in_flight, settings.max_builds_in_flight, interval)
    return [_status(row, scene) for row in rows]


def _status(row: PoolRow, scene: _Scene) -> PoolStatus:
    state = compute_state(row.preset, row.counts, scene.now)
    amount = quantities(row.preset, row.counts, state)
    reason = why_short(
        row.counted,
        state,
        amount.create,
        scene.now,
        paused=row.paused is not None,
        status=row.status,
        backoff_interval=scene.backoff_interval,
        limit=_limit(row, amount.create, scene),
    )
    return PoolStatus(
        preset=row.ref,
        desired=state.desired,
        eligible=state.eligible,
        starting=state.starting,
        deleting=state.deleting,
        failed=row.failed,
        failed_deletions=row.failed_deletions,
        reason=reason.value,
        next_action=_next_action(row, state, amount, reason, scene),
        last_error=row.status_reason or row.last_error,
    )


def _limit(row: PoolRow, missing: int, scene: _Scene) -> LimitReason | None:
    """The limit that lets nothing more through at present."""
    usage = scene.usage[row.counted.organization_id]
    in_flight = scene.in_flight.get(row.preset_id, 0)
    capped = cap_creations(
        missing,
        preset_in_flight=in_flight,
        preset_max=row.counted.max_builds_in_flight,
        organization_in_flight=usage.builds_in_flight,
        organization_max=usage.max_builds_in_flight,
        global_in_flight=sum(scene.in_flight.values()),
        global_max=scene.global_max or None,
        organization_workspaces=usage.workspaces,
        organization_max_workspaces=usage.max_workspaces,
        slow_start_limit=row.counted.slow_start,
    )
    return capped.reason if missing and not capped.count else None


def _next_action(row: PoolRow, state: ReconciliationState, amount: Quantities, reason: Reason, scene: _Scene) -> str:
    if row.paused:
        until = row.paused.get("until")
        return f"paused by {row.paused.get('by', 'somebody')}" + (f" until {until}" if until else "")
    verb = "replace" if row.rolling and row.counts.expired else "delete"
    parts = [f"{verb} {amount.delete}"] if amount.delete else []
    parts += [f"cancel {amount.cancel}"] if amount.cancel else []
    if amount.create:
        parts.append(_creation(row, amount.create, reason, scene))
    elif state.starting:
        parts.append(f"wait for {state.starting}")
    if row.failed_deletions:
        parts.append(f"delete {row.failed_deletions} again")
    if not parts and row.preset.active and (change := next_change(row.preset, scene.now)):
        parts.append(f"desired {change[1]} at {change[0].astimezone():%a %H:%M}")
    return ", ".join(parts)


def _creation(row: PoolRow, missing: int, reason: Reason, scene: _Scene) -> str:
    usage = scene.usage[row.counted.organization_id]
    match reason:
        case Reason.HARD_LIMITED | Reason.VALIDATION_FAILED:
            return reason.value.replace("_", " ")
        case Reason.BACKOFF:
            until = backoff_until(row.counted.failures, scene.backoff_interval, scene.now)
            return f"back off until {until.astimezone():%H:%M:%S}" if until else "back off"
        case Reason.QUOTA:
            used = f"{usage.workspaces} of {usage.max_workspaces} workspaces of {usage.name} in use"
            return f"quota: {used}, {usage.claimed} claimed"
        case Reason.ORGANIZATION_BUILDS:
            return f"wait: {usage.builds_in_flight} of {usage.max_builds_in_flight} builds of {usage.name} in flight"
        case Reason.GLOBAL_BUILDS:
            return f"wait: {sum(scene.in_flight.values())} of {scene.global_max} builds in flight"
        case Reason.PRESET_BUILDS | Reason.SLOW_START:
            words = "after a failure" if reason is Reason.SLOW_START else "of this pool"
            return f"wait: {scene.in_flight.get(row.preset_id, 0)} builds {words} in flight, {missing} to go"
        case _:
            return f"create {missing}"
