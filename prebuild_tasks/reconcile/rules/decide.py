"""What is to be done: decisions for one preset, and the order in which the tick sends presets their turn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile.rules.backoff import backoff_until
from prebuild_tasks.reconcile.rules.model import (
    Action,
    BackOff,
    CancelPending,
    Counts,
    Create,
    Decision,
    Delete,
    GlobalSnapshot,
    PresetCounts,
    PresetSnapshot,
    RunningPrebuild,
)
from prebuild_tasks.reconcile.rules.state import compute_state, count, desired_now, is_expired

AUTO_FANOUT_LIMIT = 1000
"""Up to this many presets a tick sends every one its message: cheap, and it heals whatever nobody thought of."""

_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_CREATE, _REMOVE, _REST = range(3)


class Quantities(NamedTuple):
    """How much of each action, before anybody asks which prebuilds."""

    delete: int
    cancel: int
    create: int


def quantities(preset: Preset, counts: Counts, desired: int) -> Quantities:
    """The arithmetic of a decision, by the size that is desired now; backoff is not looked at here."""
    live, expired, _, starting, _, _, pending, _ = counts
    if not preset.active:
        return Quantities(live + expired, pending, 0)
    delete = expired + live - desired if live > desired else expired
    missing = desired - live - starting
    if missing >= 0:
        return Quantities(delete, 0, missing)
    return Quantities(delete, min(-missing, pending, starting), 0)


def decide(snapshot: PresetSnapshot, now: datetime, backoff_interval: timedelta) -> Decision:
    """One preset's state and actions, in the order they are to be carried out."""
    preset = snapshot.preset
    counts = count(snapshot, now)
    state = compute_state(preset, counts, now)
    amount = quantities(preset, counts, state.desired)
    actions: list[Action] = []
    cancel = [CancelPending(amount.cancel)] if amount.cancel else []
    if not preset.active:
        actions += cancel
        if snapshot.running:
            actions.append(Delete(victims(snapshot.running), "inactive"))
        return Decision(state, tuple(actions), can_skip=not actions)
    expired = [item for item in snapshot.running if is_expired(preset, item.created_at, now)]
    live = [item for item in snapshot.running if not is_expired(preset, item.created_at, now)]
    if expired:
        actions.append(Delete(victims(expired), "expired"))
    if state.extraneous:
        actions.append(Delete(victims(live)[: state.extraneous], "extraneous"))
    actions += cancel
    if until := backoff_until(snapshot.failures, backoff_interval, now):
        actions.append(BackOff(until))
    elif amount.create:
        actions.append(Create(amount.create))
    return Decision(state, tuple(actions))


def needs_action(item: PresetCounts, now: datetime, backoff_interval: timedelta) -> bool:
    """Whether its turn would do anything; a shortage that may not be filled yet is no reason."""
    return _urgency(item, now, backoff_interval)[0] != _REST


def order_presets(
    snapshot: GlobalSnapshot,
    backoff_interval: timedelta,
    fanout: Literal["all", "drifted", "auto"] = "auto",
    auto_limit: int = AUTO_FANOUT_LIMIT,
) -> list[str]:
    """Whom the tick sends a message, the emptiest pools first, then deletions, then the longest unvisited.

    `drifted` sends only to those with something to do; `auto` is `all` up to `auto_limit` presets. An inactive preset
    with nothing to do never gets one.
    """
    everyone = fanout == "all" or (fanout == "auto" and len(snapshot.presets) <= auto_limit)
    ranked: list[tuple[int, float, datetime, str]] = []
    for item in snapshot.presets:
        urgency, fullness = _urgency(item, snapshot.now, backoff_interval)
        if urgency != _REST or (everyone and item.preset.active):
            ranked.append((urgency, fullness, item.last_reconciled_at or _NEVER, item.preset.id))
    ranked.sort()
    return [preset_id for *_, preset_id in ranked]


def _urgency(item: PresetCounts, now: datetime, backoff_interval: timedelta) -> tuple[int, float]:
    """What its turn would do, creation being most urgent, and how full the pool is where that decides."""
    preset, counts = item.preset, item.counts
    desired = desired_now(preset, now)
    delete, cancel, create = quantities(preset, counts, desired)
    if create and not item.creation_blocked and backoff_until(item.failures, backoff_interval, now) is None:
        return _CREATE, counts.ready / desired
    # What is aging may need its replacement, which its rows tell and the counts do not.
    return (_REMOVE if delete or cancel or counts.aging else _REST), 0.0


def victims(prebuilds: Sequence[RunningPrebuild]) -> tuple[str, ...]:
    """Not ready first, then oldest: what a claim would miss least goes first."""
    return tuple(item.id for item in sorted(prebuilds, key=lambda item: (item.ready, item.created_at, item.id)))
