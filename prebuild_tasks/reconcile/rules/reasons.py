"""The reasons why a pool has fewer eligible prebuilds than desired, for status, explain, logs and metrics."""

from __future__ import annotations

from enum import StrEnum

from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.model.vocabulary import NEVER_READY_CODE, PresetStatus
from prebuild_tasks.reconcile.rules.limits import LimitReason


class Reason(StrEnum):
    """A reason why a pool lacks prebuilds. Of several, those that wait for a person come first."""

    NONE = "none"
    """The pool lacks nothing."""
    INACTIVE = "inactive"
    """Another version is active, or the template is deprecated or no longer declared, so the pool is to have none."""
    PAUSED = "paused"
    VALIDATION_FAILED = PresetStatus.VALIDATION_FAILED.value
    HARD_LIMITED = PresetStatus.HARD_LIMITED.value
    NO_WORKER = "no_worker"
    """No control worker is running, so pools get no turns."""
    NO_BUILDS_WORKER = "no_builds_worker"
    """No builds worker is running, so builds stay pending."""
    TICK_STALE = "tick_stale"
    """The last tick is too long ago: no scheduler is running, or ticks are not carried out."""
    PROVISIONER_UNREACHABLE = CannotAskError.code
    """Its provisioner could not be asked, so its starts are held, and tried again and again."""
    LOST_TURNS = "lost_turns"
    """The last turns for this pool crashed their worker, so it rests."""
    BACKOFF = "backoff"
    SLOW_START = LimitReason.SLOW_START.value
    PRESET_BUILDS = LimitReason.PRESET_BUILDS.value
    ORGANIZATION_BUILDS = LimitReason.ORGANIZATION_BUILDS.value
    GLOBAL_BUILDS = LimitReason.GLOBAL_BUILDS.value
    QUOTA = LimitReason.QUOTA.value
    NEVER_READY = NEVER_READY_CODE
    """The last start ended, but its readiness probe never passed. Another start follows."""
    FAILING = "failing"
    """The last start failed. Another start follows."""
    TTL_TOO_SHORT = "ttl_too_short"
    """The TTL is not longer than a start takes, so every prebuild expires before it is ready. Only for `explain`."""
    STARTING = "starting"
    """Enough prebuilds are starting."""
    NOT_YET = "not_yet"
    """Nothing prevents it: the pool's next turn creates what is missing."""
    ROW_LOCK = "row_lock"
    """Of one turn: another transaction held the preset's row lock."""
    SLOT_CONFLICT = "slot_conflict"
    """Of one turn: the schema refused a surplus that the decision should have prevented."""
