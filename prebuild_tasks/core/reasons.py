"""Why a pool holds fewer eligible prebuilds than desired: one closed set, for status, explain, logs and metrics."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from prebuild_tasks.core.backoff import backoff_until
from prebuild_tasks.core.limits import LimitReason
from prebuild_tasks.core.model import PresetCounts, PresetStatus, ReconciliationState


class Reason(StrEnum):
    """What holds a pool back, the most telling first where several do."""

    NONE = "none"
    """Nothing: the pool is as desired, or is not to have any."""
    PAUSED = "paused"
    VALIDATION_FAILED = PresetStatus.VALIDATION_FAILED.value
    HARD_LIMITED = PresetStatus.HARD_LIMITED.value
    BACKOFF = "backoff"
    SLOW_START = LimitReason.SLOW_START.value
    PRESET_BUILDS = LimitReason.PRESET_BUILDS.value
    ORGANIZATION_BUILDS = LimitReason.ORGANIZATION_BUILDS.value
    GLOBAL_BUILDS = LimitReason.GLOBAL_BUILDS.value
    QUOTA = LimitReason.QUOTA.value
    STARTING = "starting"
    """Enough are on their way."""
    NOT_YET = "not_yet"
    """Nothing holds it back: its turn will create what is missing."""


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
) -> Reason:
    """The one reason why `item` is short of eligible prebuilds.

    `missing`: how many its next decision would create; `limit`: which limit would let none of them through.
    """
    if state.eligible >= state.desired:
        return Reason.NONE
    if paused:
        return Reason.PAUSED
    if missing and status is not PresetStatus.HEALTHY:
        return Reason(status.value)
    if missing and backoff_until(item.failures, backoff_interval, now):
        return Reason.BACKOFF
    if missing and limit is not None:
        return Reason(limit.value)
    return Reason.NOT_YET if missing else Reason.STARTING
