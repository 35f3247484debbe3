"""Decide the actions for one preset, and the order in which the tick sends presets their turns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from prebuild_tasks.model.event_kinds import EXPIRED, INACTIVE
from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile.rules.model import (
    Action,
    BackOff,
    CancelPending,
    Create,
    Decision,
    Delete,
    GlobalSnapshot,
    PresetCounts,
    PresetSnapshot,
    RunningPrebuild,
)
from prebuild_tasks.reconcile.rules.next_turn import next_turn, turn_of_counts
from prebuild_tasks.reconcile.rules.rollout import ALONE, PoolVersion
from prebuild_tasks.reconcile.rules.state import count, desired_now, is_expired
from prebuild_tasks.reconcile.rules.wants import Wanted, wants
from prebuild_tasks.schema.rules import is_active

AUTO_FANOUT_LIMIT = 1000
"""Up to this number of presets, a tick sends a message to each: it is cheap, and corrects unforeseen errors."""

_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_CREATE, _REMOVE, _REST = range(3)


def decide(snapshot: PresetSnapshot, now: datetime, backoff_interval: timedelta) -> Decision:
    """Return one preset's state and its actions, in order. Outdated prebuilds are all replaced at once."""
    pool = PoolVersion(
        snapshot.preset, count(snapshot, now), failures=snapshot.failures, backoff_interval=backoff_interval
    )
    wanted = wants(pool, ALONE, now)
    turn = next_turn(wanted, None, now)
    deletions = choose(snapshot, wanted, now)
    cancel = (CancelPending(turn.does.cancel),) if turn.does.cancel else ()
    if not is_active(snapshot.preset):
        return Decision(wanted.state, cancel + deletions, can_skip=not turn.writes)
    create: tuple[Action, ...] = (Create(turn.does.create),) if turn.does.create else ()
    if turn.backs_off_until:
        create = (BackOff(turn.backs_off_until),)
    return Decision(wanted.state, deletions + cancel + create)


def choose(snapshot: PresetSnapshot, wanted: Wanted, now: datetime) -> tuple[Delete, ...]:
    """Choose the running prebuilds to delete, as many for each reason as are wanted."""
    deletions: list[Delete] = []
    for reason, number in wanted.deletions:
        if number:
            rows = [item for item in snapshot.running if _is_candidate(snapshot.preset, item, reason, now)]
            deletions.append(Delete(victims(rows, number), reason))
    return tuple(deletions)


def _is_candidate(preset: Preset, item: RunningPrebuild, reason: str, now: datetime) -> bool:
    """Return whether a prebuild may be deleted for this reason.

    An inactive version may lose any. Of the active version, `expired` takes those that are, and `extraneous` the rest.
    """
    return reason == INACTIVE or is_expired(preset, item.created_at, now) == (reason == EXPIRED)


def order_presets(
    snapshot: GlobalSnapshot,
    backoff_interval: timedelta,
    fanout: Literal["all", "drifted", "auto"] = "auto",
    auto_limit: int = AUTO_FANOUT_LIMIT,
) -> list[str]:
    """Return the presets that the tick sends a message, in order.

    Pools that lack prebuilds come first, the emptiest before the others, then those with deletions, then the rest, by
    the time of their last turn. An inactive preset with nothing to do gets no message.

    Args:
        snapshot: The global snapshot.
        backoff_interval: The wait that each recent failure adds.
        fanout: `drifted`: only presets with something to do; `all`; `auto`: `all` up to `auto_limit` presets.
        auto_limit: The number of presets from which on `auto` means `drifted`.
    """
    sends_all = fanout == "all" or (fanout == "auto" and len(snapshot.presets) <= auto_limit)
    ranked: list[tuple[int, float, datetime, str]] = []
    for item in snapshot.presets:
        urgency, fullness = _urgency(item, snapshot.now, backoff_interval)
        if urgency != _REST or (sends_all and is_active(item.preset)):
            ranked.append((urgency, fullness, item.last_reconciled_at or _NEVER, item.preset.id))
    ranked.sort()
    return [preset_id for *_, preset_id in ranked]


def _urgency(item: PresetCounts, now: datetime, backoff_interval: timedelta) -> tuple[int, float]:
    """Return the urgency of a preset's turn, and, if it would create, how full the pool is."""
    does = turn_of_counts(item, backoff_interval, now)
    if does.create:
        return _CREATE, item.counts.fullness(desired_now(item.preset, now))
    # Aging prebuilds may be due for replacement, which only their rows tell.
    is_due = any(does) or item.counts.aging or (item.is_short and _is_full(item, now))
    return (_REMOVE if is_due else _REST), 0.0


def _is_full(item: PresetCounts, now: datetime) -> bool:
    """Return whether an active pool has its desired size: if it was short, its turn tells so."""
    return is_active(item.preset) and item.counts.ready >= desired_now(item.preset, now)


def victims(rows: Sequence[RunningPrebuild], n: int) -> tuple[str, ...]:
    """Return the ids of the `n` prebuilds that claims need least: those that are not ready first, then the oldest.

    Of outdated prebuilds, those that a claim may not take thus go first: not ready, or older than the TTL.
    """
    return tuple(item.id for item in sorted(rows, key=lambda item: (item.ready, item.created_at, item.id))[:n])
