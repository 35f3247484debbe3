"""Compute how many prebuilds a pool wants to create, delete and cancel, before backoff and limits."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from prebuild_tasks.model.event_kinds import EXPIRED, INACTIVE
from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile.rules.model import Counts, ReconciliationState
from prebuild_tasks.reconcile.rules.rollout import OtherVersions, PoolVersion, kept_second_choices, missing
from prebuild_tasks.reconcile.rules.state import compute_state, desired_now
from prebuild_tasks.schema.rules import is_active


class Quantities(NamedTuple):
    """The number of prebuilds for each action."""

    delete: int
    cancel: int
    create: int


class Wanted(NamedTuple):
    """How many prebuilds a pool wants to create, delete and cancel, and why."""

    pool: PoolVersion
    state: ReconciliationState
    total: Quantities
    """In all turns to come, including the deletion of outdated prebuilds that stay until they are replaced."""
    turn: Quantities
    """In the next turn, before backoff and limits."""
    ceiling: int
    """The number of slots for live prebuilds: the desired size, plus the surge while prebuilds are replaced."""
    wake: tuple[int, ...] = ()
    """Presets in other versions that can proceed because of this turn."""

    @property
    def deletions(self) -> tuple[tuple[str, int], ...]:
        """Return the number of running prebuilds to delete by reason code, in the order in which they are chosen."""
        if not is_active(self.pool.preset):
            return ((INACTIVE, self.turn.delete),)
        extraneous = self.state.extraneous
        return ((EXPIRED, self.turn.delete - extraneous), ("extraneous", extraneous))


def quantities(preset: Preset, counts: Counts, desired: int) -> Quantities:
    """Return the actions that bring a preset to its desired size at once."""
    live, expired, _, starting, _, _, pending, _ = counts
    if not is_active(preset):
        return Quantities(live + expired, pending, 0)
    delete = expired + live - desired if live > desired else expired
    lacking = desired - live - starting
    if lacking >= 0:
        return Quantities(delete, 0, lacking)
    return Quantities(delete, min(-lacking, pending, starting), 0)


def wants(pool: PoolVersion, others: OtherVersions, now: datetime) -> Wanted:
    """Return what a pool wants, given the other versions of its preset."""
    state = compute_state(pool.preset, pool.counts, now)
    total = quantities(pool.preset, pool.counts, state.desired)
    if is_active(pool.preset):
        turn, ceiling = _active(pool, others, state)
        frees_others = pool.rolling is not None and others.second_choices > missing(state.desired, state.eligible)
    else:
        ceiling = kept_outdated(pool, others, state.desired)
        turn = Quantities(total.delete - ceiling, total.cancel, 0)
        frees_others = any(turn)
    return Wanted(pool, state, total, turn, ceiling, others.preset_ids if frees_others else ())


def kept_outdated(pool: PoolVersion, others: OtherVersions, desired: int) -> int:
    """Return how many outdated prebuilds of a version stay, as second choices, until they are replaced."""
    if not is_active(pool.preset):
        successor = others.successor
        return successor.keeps(pool.outdated.second_choices) if successor else 0
    if pool.rolling is None:
        return 0
    return kept_second_choices(pool.outdated.second_choices, desired, pool.counts.ready)


def kept_claimable(pool: PoolVersion, others: OtherVersions, now: datetime) -> int:
    """Return how many prebuilds that can be claimed outlast the next turn, which deletes those not ready first."""
    desired = desired_now(pool.preset, now)
    return min(pool.counts.ready, desired) + kept_outdated(pool, others, desired)


def _active(pool: PoolVersion, others: OtherVersions, state: ReconciliationState) -> tuple[Quantities, int]:
    """Return the actions of the active version, and its ceiling.

    A pool that replaces gradually deletes an outdated prebuild for each ready one that takes its place, and replaces
    aging prebuilds ahead of their expiry. It creates only as many as keep live prebuilds, including second choices,
    within the desired size plus the surge.
    """
    live, expired, _, starting, _, _, pending, _ = pool.counts
    own_outdated = due = older_versions = surge = 0
    if pool.rolling is not None:
        own_outdated = kept_outdated(pool, others, state.desired)
        due = pool.outdated.due
        older_versions = kept_second_choices(others.second_choices, state.desired, state.eligible + own_outdated)
        surge = max(pool.rolling.max_surge, 1) if own_outdated or due or older_versions else 0
    ceiling = state.desired + surge
    lasting = live - due + starting  # those that need no replacement yet
    occupied = live + starting + own_outdated  # those of this version that count against the ceiling
    surplus = max(lasting - state.desired, occupied - ceiling, 0)
    turn = Quantities(
        delete=expired - own_outdated + state.extraneous,
        cancel=min(surplus, pending, starting),
        create=max(min(state.desired - lasting, ceiling - occupied - older_versions), 0),
    )
    return turn, ceiling
