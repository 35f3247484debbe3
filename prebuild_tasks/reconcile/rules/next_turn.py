"""Compute what a pool's next turn does of what the pool wants."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.reconcile.rules.backoff import backoff_until
from prebuild_tasks.reconcile.rules.limits import Grant, Limits
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.rules.wants import Quantities, Wanted

_NOTHING = Quantities(0, 0, 0)


class NextTurn(NamedTuple):
    """What a pool's next turn does."""

    outcome: str
    """steady, changed, blocked or paused."""
    does: Quantities
    grant: Grant
    """How many creations the limits let through, if nothing else holds them back."""
    reason: Reason | None = None
    """Why it creates fewer than it wants."""
    status: PresetStatus | None = None
    """The pool's new status; None: unchanged."""
    wake: tuple[int, ...] = ()
    """Other presets that can go on now, and that nobody else would wake before the tick."""

    @property
    def writes(self) -> bool:
        """Whether there is anything to write."""
        return any(self.does) or self.status is not None


def next_turn(wanted: Wanted, limits: Limits | None, now: datetime) -> NextTurn:
    """Return what the next turn does; `limits` None: they were not read, because nothing is to be created or yet."""
    pool, wish = wanted.pool, wanted.turn
    grant = limits.grant(pool.preset.id, wish.create) if limits else Grant(wish.create)
    if pool.is_suspended(now):
        outcome, why = ("paused", Reason.PAUSED) if pool.paused else ("blocked", Reason.LOST_TURNS)
        return NextTurn(outcome, _NOTHING, grant, why)
    unwell = pool.hard_limit and pool.status is PresetStatus.HEALTHY and pool.failures_in_row >= pool.hard_limit
    reason: Reason | None = None
    if pool.preset.active and backoff_until(pool.failures, pool.backoff_interval, now):
        reason = Reason.BACKOFF
    elif wish.create and pool.status is not PresetStatus.HEALTHY:
        reason = Reason(pool.status.value)
    elif unwell:
        reason = Reason.HARD_LIMITED
    does, wake = Quantities(wish.delete, wish.cancel, 0 if reason else grant.number), wanted.wake
    if wish.create and not reason:
        reason, wake = Reason(grant.limit.reason.value) if grant.limit else None, wake + grant.left_for
    outcome = "changed" if any(does) else "blocked" if reason else "steady"
    return NextTurn(outcome, does, grant, reason, PresetStatus.HARD_LIMITED if unwell else None, wake)
