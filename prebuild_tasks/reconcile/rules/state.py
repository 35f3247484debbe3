"""The numbers a decision rests on. One set of formulas, for rows (a preset's turn) and for counts (the tick)."""

from __future__ import annotations

from datetime import datetime

from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile.rules.model import Counts, PresetSnapshot, ReconciliationState
from prebuild_tasks.reconcile.rules.schedule import desired_at


def is_expired(preset: Preset, created_at: datetime, now: datetime) -> bool:
    """Created strictly before the last invalidation, or strictly older than the TTL."""
    if preset.last_invalidated_at is not None and created_at < preset.last_invalidated_at:
        return True
    return is_past_ttl(preset, created_at, now)


def is_past_ttl(preset: Preset, created_at: datetime, now: datetime) -> bool:
    """Strictly older than the TTL: never to be claimed again, not even as second choice."""
    return preset.ttl is not None and preset.ttl.total_seconds() > 0 and now - created_at > preset.ttl


def count(snapshot: PresetSnapshot, now: datetime) -> Counts:
    """One preset's rows, counted."""
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
    """What the preset should have at `now`; 0 while it is inactive."""
    return desired_at(preset, now) if preset.active else 0


def compute_state(preset: Preset, counts: Counts, now: datetime) -> ReconciliationState:
    """What there is, and what there should be."""
    active, desired = preset.active, desired_now(preset, now)
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
