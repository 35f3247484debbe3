"""Find the reason, as shown to people, why a pool lacks eligible prebuilds."""

from __future__ import annotations

from dataclasses import dataclass

from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.model.vocabulary import NEVER_READY_CODE, PresetStatus
from prebuild_tasks.reconcile.rules.next_turn import NextTurn
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.rules.wants import Wanted
from prebuild_tasks.schema.rules import is_active


@dataclass(frozen=True, slots=True)
class WorkerAvailability:
    """The processes that are running."""

    control: bool = True
    """A worker consumes every queue of the control tasks."""
    builds: bool = True
    """A worker consumes the shared queue of builds."""
    scheduler: bool = True
    """A scheduler is running: the last tick is not too long ago."""


def why_short(wanted: Wanted, turn: NextTurn, workers: WorkerAvailability, failure: str | None) -> Reason:
    """Return the reason why a pool lacks eligible prebuilds. Reasons that wait for a person come first.

    Args:
        wanted: What the pool wants.
        turn: Its next turn.
        workers: The processes that are running.
        failure: The error code of the pool's last start, or of one that is held; None: it did not fail.
    """
    pool, create = wanted.pool, wanted.turn.create
    if not is_active(pool.preset):
        return Reason.INACTIVE
    if wanted.state.eligible >= wanted.state.desired:
        return Reason.NONE
    if pool.paused:
        return Reason.PAUSED
    if create and pool.status is not PresetStatus.HEALTHY:
        return Reason(pool.status.value)
    if create and not workers.control:
        return Reason.NO_WORKER
    if not workers.builds:
        return Reason.NO_BUILDS_WORKER
    if create and not workers.scheduler:
        return Reason.TICK_STALE
    if failure == CannotAskError.code:
        return Reason.PROVISIONER_UNREACHABLE
    if create and turn.reason and not turn.does.create:
        return turn.reason
    if failure is not None:
        return Reason.NEVER_READY if failure == NEVER_READY_CODE else Reason.FAILING
    return Reason.NOT_YET if create else Reason.STARTING
