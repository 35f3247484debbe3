"""The numbers that decisions are based on, from rows in a preset's turn and from counts in the tick."""

from __future__ import annotations

from datetime import datetime

from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile.rules.model import Counts, PresetSnapshot, ReconciliationState
from prebuild_tasks.reconcile.rules.schedule import desired_at
from prebuild_tasks.schema.rules import is_active


def is_expired(preset: Preset, created_at: datetime, now: datetime) -> bool:
    """Return whether a prebuild was created before the last invalidation, or is older than the TTL, both strictly."""
    if preset.last_invalidated_at is not None and created_at < preset.last_invalidated_at:
        return True
    return is_past_ttl(preset, created_at, now)


def is_past_ttl(preset: Preset, created_at: datetime, now: datetime) -> bool:
    """Return whether a prebuild is strictly older than the TTL, so that not even a second choice may claim it."""
    return preset.ttl is not None and preset.ttl.total_seconds() > 0 and now - created_at > preset.ttl


def is_past_half_ttl(preset: Preset, created_at: datetime, now: datetime) -> bool:
    """Return whether a prebuild has lived for half of its TTL or longer, so that it may be replaced gradually."""
    return preset.ttl is not None and preset.ttl.total_seconds() > 0 and (now - created_at) * 2 >= preset.ttl


def count(snapshot: PresetSnapshot, now: datetime) -> Counts:
    """Count one preset's rows. `aging` stays 0: with the rows at hand, `due_for_replacement` is exact."""
    live = ready = expired = 0
    for prebuild in snapshot.running:
        if is_expired(snapshot.preset, prebuild.created_at, now):
            expired += 1
        else:
            live += 1
            ready += prebuild.ready
    return Counts(
        live=live,
        expired=expired,
        ready=ready,
        starting=snapshot.starting,
        stopping=snapshot.stopping,
        deleting=snapshot.deleting,
        pending=snapshot.pending,
    )


def desired_now(preset: Preset, now: datetime) -> int:
    """Return the desired size at `now`; 0 while the preset is inactive."""
    return desired_at(preset, now) if is_active(preset) else 0


def compute_state(preset: Preset, counts: Counts, now: datetime) -> ReconciliationState:
    """Return the preset's state at `now`."""
    active, desired = is_active(preset), desired_now(preset, now)
    return ReconciliationState(
        actual=counts.live + counts.expired,
        expired=counts.expired,
        desired=desired,
        eligible=counts.ready if active else 0,
        extraneous=max(counts.live - desired, 0) if active else 0,
        starting=counts.starting,
        stopping=counts.stopping,
        deleting=counts.deleting,
    )
