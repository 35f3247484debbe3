"""Why a pool holds fewer eligible prebuilds than desired: one closed set, for status, explain, logs and metrics."""

from __future__ import annotations

from enum import StrEnum

from prebuild_tasks.model.vocabulary import NEVER_READY_CODE, PresetStatus
from prebuild_tasks.reconcile.rules.limits import LimitReason


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
