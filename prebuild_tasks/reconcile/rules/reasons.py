"""Why a pool holds fewer eligible prebuilds than desired: one closed set, for status, explain, logs and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from prebuild_tasks.model.vocabulary import NEVER_READY_CODE, PresetStatus
from prebuild_tasks.reconcile.rules.backoff import backoff_until
from prebuild_tasks.reconcile.rules.limits import LimitReason
from prebuild_tasks.reconcile.rules.model import PresetCounts, ReconciliationState


class Reason(StrEnum):
    """What holds a pool back; where several do, what waits for a person first, then what mends itself."""

    NONE = "none"
    """Nothing: the pool has what it should have."""
    INACTIVE = "inactive"
    """Another version is active, or the template is deprecated or no longer declared: it is to have none."""
    PAUSED = "paused"
    VALIDATION_FAILED = PresetStatus.VALIDATION_FAILED.value
    HARD_LIMITED = PresetStatus.HARD_LIMITED.value
    NO_WORKER = "no_worker"
    """No control worker is alive: nobody decides."""
    NO_BUILDS_WORKER = "no_builds_worker"
    """No builds worker is alive: nobody builds."""
    TICK_STALE = "tick_stale"
    """No tick came for too long: beat is down, or the ticks are not carried out."""
    LOST_TURNS = "lost_turns"
    """Its last turns ended with their process, so the pool rests."""
    BACKOFF = "backoff"
    SLOW_START = LimitReason.SLOW_START.value
    PRESET_BUILDS = LimitReason.PRESET_BUILDS.value
    ORGANIZATION_BUILDS = LimitReason.ORGANIZATION_BUILDS.value
    GLOBAL_BUILDS = LimitReason.GLOBAL_BUILDS.value
    QUOTA = LimitReason.QUOTA.value
    NEVER_READY = NEVER_READY_CODE
    """The last start ran, and its readiness probe never passed; it is being tried again."""
    FAILING = "failing"
    """The last start failed; it is being tried again."""
    STARTING = "starting"
    """Enough are on their way."""
    NOT_YET = "not_yet"
    """Nothing holds it back: its turn will create what is missing."""
    ROW_LOCK = "row_lock"
    """Of one turn: somebody else held the pool's row."""
    SLOT_CONFLICT = "slot_conflict"
    """Of one turn: the schema held back what the decision should have."""


@dataclass(frozen=True, slots=True)
class Staff:
    """Which processes are there to do the work."""

    worker: bool = True
    """Somebody consumes every queue of the control tasks."""
    builds: bool = True
    """Somebody consumes the shared queue of the builds."""
    ticking: bool = True
    """The last tick is not too long ago."""


def why_short(
    item: PresetCounts,
    state: ReconciliationState,
    missing: int,
    now: datetime,
    *,
    paused: bool,
    status: PresetStatus,
    backoff_interval: timedelta,
    limit: LimitReason | None,
    staff: Staff,
    resting: bool,
    failure: str | None,
) -> Reason:
    """The one reason why `item` is short of eligible prebuilds.

    `missing`: how many its next turn would create, were there no limits; `limit`: which limit would let none of them
    through; `resting`: its last turns ended with their process; `failure`: the error code of its last start, None when
    that did not fail.
    """
    if not item.preset.active:
        return Reason.INACTIVE
    if state.eligible >= state.desired:
        return Reason.NONE
    if paused:
        return Reason.PAUSED
    if missing and status is not PresetStatus.HEALTHY:
        return Reason(status.value)
    if missing and not staff.worker:
        return Reason.NO_WORKER
    if not staff.builds:
        return Reason.NO_BUILDS_WORKER
    if missing and not staff.ticking:
        return Reason.TICK_STALE
    if missing and resting:
        return Reason.LOST_TURNS
    if missing and backoff_until(item.failures, backoff_interval, now):
        return Reason.BACKOFF
    if missing and limit is not None:
        return Reason(limit.value)
    if failure is not None:
        return Reason.NEVER_READY if failure == NEVER_READY_CODE else Reason.FAILING
    return Reason.NOT_YET if missing else Reason.STARTING
