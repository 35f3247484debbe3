"""Compute what a pool's next turn does, from what the pool wants and what the limits allow."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.reconcile.rules.backoff import backoff_until
from prebuild_tasks.reconcile.rules.limits import Grant, Limits
from prebuild_tasks.reconcile.rules.model import PresetCounts
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.rules.rollout import ALONE, PoolVersion
from prebuild_tasks.reconcile.rules.state import desired_now
from prebuild_tasks.reconcile.rules.wants import Quantities, Wanted, quantities, wants
from prebuild_tasks.schema.rules import is_active

_NOTHING = Quantities(0, 0, 0)


class NextTurn(NamedTuple):
    """A pool's next turn."""

    does: Quantities
    """The numbers of prebuilds that the turn deletes, cancels and creates."""
    grant: Grant
    """The number of creations that the limits allow, before backoff and the pool's status are considered."""
    reason: Reason | None = None
    """Why the turn creates fewer prebuilds than the pool wants."""
    backs_off_until: datetime | None = None
    """The last instant at which the pool creates nothing because of failures; None: it does not wait."""
    status: PresetStatus | None = None
    """The pool's new status; None: unchanged."""
    wake: tuple[int, ...] = ()
    """Other presets that can proceed now, and would otherwise wait for the tick."""

    @property
    def outcome(self) -> str:
        """Return `steady`, `changed`, `blocked` or `paused`."""
        if self.reason is Reason.PAUSED:
            return "paused"
        return "changed" if any(self.does) else "blocked" if self.reason else "steady"

    @property
    def writes(self) -> bool:
        """Return whether there is anything to write."""
        return any(self.does) or self.status is not None


def next_turn(wanted: Wanted, limits: Limits | None, now: datetime) -> NextTurn:
    """Return what the next turn does.

    Args:
        wanted: What the pool wants.
        limits: The limits on creation; None: not read, because nothing is to be created, or not yet.
        now: The database's time.
    """
    pool, wish = wanted.pool, wanted.turn
    grant = limits.grant(pool.preset.id, wish.create) if limits else Grant(wish.create)
    until = backoff_until(pool.failures, pool.backoff_interval, now) if is_active(pool.preset) else None
    if pool.gets_no_turn(now):
        return NextTurn(_NOTHING, grant, Reason.PAUSED if pool.paused else Reason.LOST_TURNS, until)
    has_failed_too_often = pool.hard_limit and pool.failures_in_row >= pool.hard_limit
    reaches_hard_limit = has_failed_too_often and pool.status is PresetStatus.HEALTHY
    reason: Reason | None = None
    if until:
        reason = Reason.BACKOFF
    elif wish.create and pool.status is not PresetStatus.HEALTHY:
        reason = Reason(pool.status.value)
    elif reaches_hard_limit:
        reason = Reason.HARD_LIMITED
    does, wake = Quantities(wish.delete, wish.cancel, 0 if reason else grant.number), wanted.wake
    if wish.create and not reason:
        reason, wake = Reason(grant.limit.reason.value) if grant.limit else None, wake + grant.left_for
    status = PresetStatus.HARD_LIMITED if reaches_hard_limit else None
    return NextTurn(does, grant, reason, until, status, wake)


def turn_of_counts(item: PresetCounts, backoff_interval: timedelta, now: datetime) -> Quantities:
    """Return what a pool's next turn does before limits, as if it replaced all outdated prebuilds at once."""
    wish = quantities(item.preset, item.counts, desired_now(item.preset, now))
    if wish == _NOTHING:
        # Most pools want nothing, and a tick asks for thousands.
        return _NOTHING
    return next_turn(wants(PoolVersion.of(item, backoff_interval), ALONE, now), None, now).does
