"""What is to be done: decisions for one preset, and the order in which the tick sends presets their turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from prebuild_tasks.core.backoff import backoff_until
from prebuild_tasks.core.model import (
    Action,
    BackOff,
    CancelPending,
    Counts,
    Create,
    Decision,
    Delete,
    GlobalSnapshot,
    Preset,
    PresetCounts,
    PresetSnapshot,
    ReconciliationState,
    RunningPrebuild,
)
from prebuild_tasks.core.state import compute_state, count, is_expired

AUTO_FANOUT_LIMIT = 1000
"""Up to this many presets a tick sends every one its message: cheap, and it heals whatever nobody thought of."""

_NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Quantities:
    """How much of each action, before anybody asks which prebuilds."""

    delete: int
    cancel: int
    create: int


def quantities(preset: Preset, counts: Counts, state: ReconciliationState) -> Quantities:
    """The arithmetic of a decision; backoff is not looked at here."""
    if not preset.active:
        return Quantities(delete=state.actual, cancel=counts.pending, create=0)
    surplus = max(counts.live + counts.starting - state.desired, 0)
    return Quantities(
        delete=state.expired + state.extraneous,
        cancel=min(surplus, counts.pending, counts.starting),
        create=max(state.desired - counts.live - counts.starting, 0),
    )


def decide(snapshot: PresetSnapshot, now: datetime, backoff_interval: timedelta) -> Decision:
    """One preset's state and actions, in the order they are to be carried out."""
    preset = snapshot.preset
    counts = count(snapshot, now)
    state = compute_state(preset, counts, now)
    amount = quantities(preset, counts, state)
    actions: list[Action] = []
    cancel = [CancelPending(amount.cancel)] if amount.cancel else []
    if not preset.active:
        actions += cancel
        if snapshot.running:
            actions.append(Delete(_victims(snapshot.running)))
        return Decision(state, tuple(actions), can_skip=not actions)
    expired = [item for item in snapshot.running if is_expired(preset, item.created_at, now)]
    live = [item for item in snapshot.running if not is_expired(preset, item.created_at, now)]
    if expired:
        actions.append(Delete(_victims(expired)))
    if state.extraneous:
        actions.append(Delete(_victims(live)[: state.extraneous]))
    actions += cancel
    if until := backoff_until(snapshot.failures, backoff_interval, now):
        actions.append(BackOff(until))
    elif amount.create:
        actions.append(Create(amount.create))
    return Decision(state, tuple(actions))


def order_presets(
    snapshot: GlobalSnapshot,
    backoff_interval: timedelta,
    fanout: Literal["all", "drifted", "auto"] = "auto",
    auto_limit: int = AUTO_FANOUT_LIMIT,
) -> list[str]:
    """Whom the tick sends a message, the emptiest pools first, then deletions, then the longest unvisited.

    `drifted` sends only to those with something to do; `auto` is `all` up to `auto_limit` presets.
    """
    everyone = fanout == "all" or (fanout == "auto" and len(snapshot.presets) <= auto_limit)
    ranked: list[tuple[int, float, datetime, str]] = []
    for item in snapshot.presets:
        state = compute_state(item.preset, item.counts, snapshot.now)
        amount = quantities(item.preset, item.counts, state)
        last = item.last_reconciled_at or _NEVER
        if amount.create and _may_create(item, backoff_interval, snapshot.now):
            ranked.append((0, state.eligible / state.desired, last, item.preset.id))
        elif amount.delete or amount.cancel:
            ranked.append((1, 0.0, last, item.preset.id))
        elif everyone and item.preset.active:
            ranked.append((2, 0.0, last, item.preset.id))
    ranked.sort()
    return [preset_id for *_, preset_id in ranked]


def _may_create(item: PresetCounts, backoff_interval: timedelta, now: datetime) -> bool:
    return not item.creation_blocked and backoff_until(item.failures, backoff_interval, now) is None


def _victims(prebuilds: Sequence[RunningPrebuild]) -> tuple[str, ...]:
    """Not ready first, then oldest: what a claim would miss least goes first."""
    return tuple(item.id for item in sorted(prebuilds, key=lambda item: (item.ready, item.created_at, item.id)))
