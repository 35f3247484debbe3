"""What is to be done: decisions for one preset, and the order in which the tick sends presets their turn."""

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

AUTO_FANOUT_LIMIT = 1000
"""Up to this many presets a tick sends every one its message: cheap, and it heals whatever nobody thought of."""

_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_CREATE, _REMOVE, _REST = range(3)


def decide(snapshot: PresetSnapshot, now: datetime, backoff_interval: timedelta) -> Decision:
    """Return one preset's state and actions, in the order they are to be carried out, all outdated ones at once."""
    wanted = wants(PoolVersion(preset=snapshot.preset, counts=count(snapshot, now)), ALONE, now)
    deletions = choose(snapshot, wanted, now)
    cancel = (CancelPending(wanted.turn.cancel),) if wanted.turn.cancel else ()
    if not snapshot.preset.active:
        return Decision(wanted.state, cancel + deletions, can_skip=not (cancel or deletions))
    create: tuple[Action, ...] = (Create(wanted.turn.create),) if wanted.turn.create else ()
    if until := backoff_until(snapshot.failures, backoff_interval, now):
        create = (BackOff(until),)
    return Decision(wanted.state, deletions + cancel + create)


def choose(snapshot: PresetSnapshot, wanted: Wanted, now: datetime) -> tuple[Delete, ...]:
    """Return which running prebuilds are deleted, as many of each kind as are wanted."""
    found: list[Delete] = []
    for reason, number in wanted.deletions:
        if number:
            rows = [item for item in snapshot.running if _may_go(snapshot.preset, item, reason, now)]
            found.append(Delete(victims(rows, number), reason))
    return tuple(found)


def _may_go(preset: Preset, item: RunningPrebuild, reason: str, now: datetime) -> bool:
    """Whether a prebuild can be deleted for this reason: of the active version some are expired, the others are not."""
    return reason == "inactive" or is_expired(preset, item.created_at, now) == (reason == "expired")


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


def victims(rows: Sequence[RunningPrebuild], n: int) -> tuple[str, ...]:
    """Return the ids of the `n` prebuilds that a claim would miss least: not ready first, then oldest.

    So of outdated ones those go first that a claim may not take: not ready, or older than the TTL.
    """
    return tuple(item.id for item in sorted(rows, key=lambda item: (item.ready, item.created_at, item.id))[:n])
