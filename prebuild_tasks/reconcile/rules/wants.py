"""Compute how many prebuilds a pool wants created, deleted and cancelled, before anything holds its turn back."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile.rules.model import Counts, ReconciliationState
from prebuild_tasks.reconcile.rules.rollout import OtherVersions, PoolVersion, missing
from prebuild_tasks.reconcile.rules.state import compute_state


class Quantities(NamedTuple):
    """Numbers of prebuilds for each action."""

    delete: int
    cancel: int
    create: int


class Wanted(NamedTuple):
    """How many prebuilds a pool wants created, deleted and cancelled by its next turn, and why."""

    pool: PoolVersion
    state: ReconciliationState
    total: Quantities
    """By however many turns: outdated prebuilds that stay until they are replaced are counted, too."""
    turn: Quantities
    """By the next turn, if neither backoff nor limits hold it back."""
    ceiling: int
    """Live prebuilds may hold slots below this: desired, plus the surge while replacing."""
    wake: tuple[int, ...] = ()
    """Other versions that can go on because of what is wanted here."""

    @property
    def deletions(self) -> tuple[tuple[str, int], ...]:
        """Return how many running prebuilds go, by reason code, in the order in which they are chosen."""
        if not self.pool.preset.active:
            return (("inactive", self.turn.delete),)
        extraneous = self.state.extraneous
        return (("expired", self.turn.delete - extraneous), ("extraneous", extraneous))


def quantities(preset: Preset, counts: Counts, desired: int) -> Quantities:
    """Return the difference between what there is and what is desired, all of it to be made up for at once."""
    live, expired, _, starting, _, _, pending, _ = counts
    if not preset.active:
        return Quantities(live + expired, pending, 0)
    delete = expired + live - desired if live > desired else expired
    lacking = desired - live - starting
    if lacking >= 0:
        return Quantities(delete, 0, lacking)
    return Quantities(delete, min(-lacking, pending, starting), 0)


def wants(pool: PoolVersion, others: OtherVersions, now: datetime) -> Wanted:
    """Return what the pool wants, given the other versions of its preset."""
    state = compute_state(pool.preset, pool.counts, now)
    total = quantities(pool.preset, pool.counts, state.desired)
    if pool.preset.active:
        turn, ceiling = _active(pool, others, state)
        goes_on = pool.rolling is not None and others.second_choices > missing(state.desired, state.eligible)
    else:
        ceiling = _standing_in(pool, others)
        turn = Quantities(total.delete - ceiling, total.cancel, 0)
        goes_on = any(turn)
    return Wanted(pool, state, total, turn, ceiling, others.preset_ids if goes_on else ())


def _active(pool: PoolVersion, others: OtherVersions, state: ReconciliationState) -> tuple[Quantities, int]:
    """Return the numbers of the active version, and its ceiling.

    Where it replaces gradually, outdated prebuilds go one by one as ready ones take their place, and aging ones are
    replaced ahead of their expiry. Creation is measured so that live prebuilds, second choices included, stay within
    desired plus the surge.
    """
    live, expired, _, starting, _, _, pending, _ = pool.counts
    standing = due = older = surge = 0
    if pool.rolling is not None:
        standing = min(pool.outdated.second_choices, missing(state.desired, state.eligible))
        due = pool.outdated.due
        older = min(others.second_choices, missing(state.desired, state.eligible + standing))
        surge = max(pool.rolling.max_surge, 1) if standing or due or older else 0
    ceiling = state.desired + surge
    fresh = live - due + starting
    held = live + starting + standing
    surplus = max(fresh - state.desired, held - ceiling, 0)
    turn = Quantities(
        delete=expired - standing + state.extraneous,
        cancel=min(surplus, pending, starting),
        create=max(min(state.desired - fresh, ceiling - held - older), 0),
    )
    return turn, ceiling


def _standing_in(pool: PoolVersion, others: OtherVersions) -> int:
    """Return how many prebuilds of an older version stay, because its successor still lacks as many."""
    successor = others.successor
    if successor is None:
        return 0
    return min(pool.outdated.second_choices, missing(successor.desired, successor.eligible))
