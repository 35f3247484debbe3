"""Decide the actions for one preset, and the order in which the tick sends presets their turns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile.rules.backoff import backoff_until
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
from prebuild_tasks.reconcile.rules.rollout import ALONE, PoolVersion
from prebuild_tasks.reconcile.rules.state import count, desired_now, is_expired
from prebuild_tasks.reconcile.rules.wants import Wanted, quantities, wants
from prebuild_tasks.schema.rules import is_active

AUTO_FANOUT_LIMIT = 1000
"""Up to this number of presets, a tick sends a message to each: it is cheap, and corrects unforeseen errors."""

_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_CREATE, _REMOVE, _REST = range(3)


def decide(snapshot: PresetSnapshot, now: datetime, backoff_interval: timedelta) -> Decision:
    """Return one preset's state and its actions, in order. Outdated prebuilds are all replaced at once."""
    wanted = wants(PoolVersion(preset=snapshot.preset, counts=count(snapshot, now)), ALONE, now)
    deletions = choose(snapshot, wanted, now)
    cancel = (CancelPending(wanted.turn.cancel),) if wanted.turn.cancel else ()
    if not is_active(snapshot.preset):
        return Decision(wanted.state, cancel + deletions, can_skip=not (cancel or deletions))
    create: tuple[Action, ...] = (Create(wanted.turn.create),) if wanted.turn.create else ()
    if until := backoff_until(snapshot.failures, backoff_interval, now):
        create = (BackOff(until),)
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
    return reason == "inactive" or is_expired(preset, item.created_at, now) == (reason == "expired")


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
    preset, counts = item.preset, item.counts
    desired = desired_now(preset, now)
    delete, cancel, create = quantities(preset, counts, desired)
    if create and not item.creation_blocked and backoff_until(item.failures, backoff_interval, now) is None:
        return _CREATE, counts.ready / desired
    # Aging prebuilds may be due for replacement, which only their rows tell.
    return (_REMOVE if delete or cancel or counts.aging else _REST), 0.0


def victims(rows: Sequence[RunningPrebuild], n: int) -> tuple[str, ...]:
    """Return the ids of the `n` prebuilds that claims need least: those that are not ready first, then the oldest.

    Of outdated prebuilds, those that a claim may not take thus go first: not ready, or older than the TTL.
    """
    return tuple(item.id for item in sorted(rows, key=lambda item: (item.ready, item.created_at, item.id))[:n])
