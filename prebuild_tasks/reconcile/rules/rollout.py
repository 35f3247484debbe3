"""Rolling replacement: what of a decision may be carried out now, so that a pool is never emptied to be renewed.

The decision stays as it is; this gates it. A prebuild that is merely outdated (invalidated, or of an older version)
stays claimable as second choice until its replacement is ready; one past its TTL never does, so its replacement begins
ahead of the expiry. While it replaces, a pool holds up to `max_surge` more than desired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile.rules.decide import victims
from prebuild_tasks.reconcile.rules.model import (
    Action,
    BackOff,
    CancelPending,
    Create,
    Decision,
    Delete,
    PresetSnapshot,
    ReconciliationState,
    RunningPrebuild,
)
from prebuild_tasks.reconcile.rules.state import is_expired, is_past_ttl


@dataclass(frozen=True, slots=True)
class Rolling:
    """How an active pool replaces what it holds."""

    max_surge: int
    """How many more than desired there may be meanwhile; at least 1."""
    lead: timedelta
    """The longest that one replacement takes until it is ready."""
    older: int = 0
    """Prebuilds of older versions that a claim still gets as second choice."""


@dataclass(frozen=True, slots=True)
class Successor:
    """The active pool that replaces an older version's, as far as the older one must know it."""

    desired: int
    eligible: int
    """Ready ones of the successor, and second choices of versions between the two."""


@dataclass(frozen=True, slots=True)
class Gated:
    """What is carried out of a decision, and below which slot."""

    actions: tuple[Action, ...]
    ceiling: int
    """Live prebuilds may hold slots below this: desired, plus the surge while replacing."""


def ungated(decision: Decision) -> Gated:
    """The strategy `recreate`: everything at once."""
    return Gated(decision.actions, decision.state.desired)


def gate_active(snapshot: PresetSnapshot, decision: Decision, rolling: Rolling, now: datetime) -> Gated:
    """The active pool: outdated prebuilds go one by one as ready ones take their place, and aging ones are replaced.

    Creation is measured so that live prebuilds, second choices included, stay within desired plus the surge.
    """
    preset, state = snapshot.preset, decision.state
    live: list[RunningPrebuild] = []
    second: list[RunningPrebuild] = []
    gone: list[RunningPrebuild] = []
    for item in snapshot.running:
        if not is_expired(preset, item.created_at, now):
            live.append(item)
        else:
            (second if _stands_in(preset, item, now) else gone).append(item)
    standing = min(len(second), _missing(state.desired, state.eligible))
    gone += _oldest(second)[: len(second) - standing]
    due = due_for_replacement(preset, live, rolling, now)
    older = min(rolling.older, _missing(state.desired, state.eligible + standing))
    replacing = bool(standing or due or older)
    room = state.desired + (max(rolling.max_surge, 1) if replacing else 0)
    fresh = len(live) - len(due)
    held = len(live) + snapshot.starting + standing
    surplus = max(fresh + snapshot.starting - state.desired, held - room, 0)
    wanted = max(min(state.desired - fresh - snapshot.starting, room - held - older), 0)
    actions: list[Action] = []
    if gone:
        actions.append(Delete(victims(gone), "expired"))
    actions += [item for item in decision.actions if isinstance(item, Delete) and item.reason == "extraneous"]
    if cancel := min(surplus, snapshot.pending, snapshot.starting):
        actions.append(CancelPending(cancel))
    waits = [item for item in decision.actions if isinstance(item, BackOff)]
    actions += waits
    if wanted and not waits:
        actions.append(Create(wanted))
    return Gated(tuple(actions), room)


def gate_inactive(snapshot: PresetSnapshot, decision: Decision, successor: Successor, now: datetime) -> Gated:
    """An older version's pool: it stands in for what its successor lacks, the newest longest."""
    second: list[RunningPrebuild] = []
    gone: list[RunningPrebuild] = []
    for item in snapshot.running:
        (second if _stands_in(snapshot.preset, item, now) else gone).append(item)
    standing = min(len(second), _missing(successor.desired, successor.eligible))
    gone += _oldest(second)[: len(second) - standing]
    actions: list[Action] = [item for item in decision.actions if isinstance(item, CancelPending)]
    if gone:
        actions.append(Delete(victims(gone), "inactive"))
    return Gated(tuple(actions), standing)


def due_for_replacement(
    preset: Preset, live: Sequence[RunningPrebuild], rolling: Rolling, now: datetime
) -> list[RunningPrebuild]:
    """Those whose replacement must begin now, to be ready before the TTL ends.

    Replacements come `max_surge` at a time, so the first of many that expire together begins that much earlier; but
    nothing is replaced in the first half of its life.
    """
    ttl = preset.ttl
    if ttl is None or ttl <= timedelta():
        return []
    oldest, at_once = _oldest(live), max(rolling.max_surge, 1)
    due: list[RunningPrebuild] = []
    latest: datetime | None = None
    for start in reversed(range(0, len(oldest), at_once)):
        batch = oldest[start : start + at_once]
        expires = batch[0].created_at + ttl
        latest = (expires if latest is None else min(expires, latest)) - rolling.lead
        due = [item for item in batch if now >= max(latest, item.created_at + ttl / 2)] + due
    return due


def overdue(state: ReconciliationState, rolling: Rolling) -> int:
    """How many of the older versions' prebuilds nobody needs any more: their pools have something to delete."""
    return max(rolling.older - _missing(state.desired, state.eligible), 0)


def _stands_in(preset: Preset, item: RunningPrebuild, now: datetime) -> bool:
    """Of what is outdated: whether a claim may still take it."""
    return item.ready and not is_past_ttl(preset, item.created_at, now)


def _missing(desired: int, eligible: int) -> int:
    return max(desired - eligible, 0)


def _oldest(items: Sequence[RunningPrebuild]) -> list[RunningPrebuild]:
    return sorted(items, key=lambda item: (item.created_at, item.id))
