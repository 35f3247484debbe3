"""Gather, decide, apply: what a tick and a preset's turn do. No Celery here; messages go through a port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError
from prebuild_tasks.faultpoints import step
from prebuild_tasks.model.vocabulary import RECONCILER, PresetStatus
from prebuild_tasks.reconcile.budgets import grant
from prebuild_tasks.reconcile.rules.decide import decide, order_presets
from prebuild_tasks.reconcile.rules.limits import assign_slots
from prebuild_tasks.reconcile.rules.model import BackOff, CancelPending, Create, Decision, Delete, GlobalSnapshot
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.rules.rollout import Gated, Rolling, gate_active, gate_inactive, overdue, ungated
from prebuild_tasks.reconcile.store import preset_view, snapshots
from prebuild_tasks.reconcile.store.preset_view import PresetView
from prebuild_tasks.reconcile.store.siblings import read_older, read_successor
from prebuild_tasks.reconcile.store.write import bump_generation, create_prebuilds, move_slots, set_preset_status
from prebuild_tasks.schema.conditions import ROLLING
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import lock_preset
from prebuild_tasks.workspaces import transitions
from prebuild_tasks.workspaces.new_builds import NewBuild

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class PresetResult:
    """What one turn did; small, and worth reading in Flower."""

    preset: str
    outcome: str
    """steady, changed, blocked, paused, gone, or held (somebody else has the pool's lock)."""
    desired: int = 0
    eligible: int = 0
    starting: int = 0
    created: int = 0
    deleted: int = 0
    canceled: int = 0
    lost_turns: int = 0
    """How many turns before this one ended with their process."""
    reason: Reason | None = None
    """Why fewer were created than are missing."""
    builds: list[NewBuild] = field(default_factory=list)
    wake: set[int] = field(default_factory=set)
    """Other presets that can go on now, and that nobody else would wake before the tick."""

    def report(self) -> dict[str, Any]:
        """The result without what is empty or for the caller only."""
        values = {name: getattr(self, name) for name in self.__slots__ if name not in ("builds", "wake")}
        values["reason"] = self.reason.value if self.reason else ""
        return {name: value for name, value in values.items() if value or name in ("desired", "eligible")}


def plan_tick(database: Database, settings: Settings) -> tuple[GlobalSnapshot, list[str]]:
    """Take the global snapshot and choose whom to send a message, in order. Reads only."""
    with database.snapshot() as connection:
        snapshot = snapshots.read_global(database, connection, settings.backoff_lookback)
    if snapshot.paused:
        return snapshot, []
    return snapshot, order_presets(snapshot, timedelta(seconds=settings.backoff_interval), settings.fanout)


def reconcile_preset(database: Database, settings: Settings, preset_id: int) -> PresetResult:
    """Drive one pool to its desired size, in one transaction; the caller publishes `builds` and `wake` after it.

    First without a lock: a pool that is as desired costs three reads and writes nothing. What is decided then counts
    for nothing: everything is read again under the row lock.
    """
    with database.read() as connection:
        turn = _look(connection, database, settings, preset_id)
    if isinstance(turn, PresetResult):
        return turn
    view, gated, result = turn
    if not _wants_writing(view, gated, settings):
        result.outcome = "blocked" if result.reason else "steady"
        return result
    step("turn.looked")
    try:
        with database.write() as connection:
            return _reconcile_locked(connection, database, settings, preset_id)
    except BusyError:
        result.outcome, result.reason = "held", Reason.ROW_LOCK
        return result
    except IntegrityError as error:
        # The schema's backstop held what the decision should have: nothing was written, the next turn decides anew.
        log.error("slot_conflict", preset=view.ref, error=str(error.orig))
        result.outcome, result.reason = "held", Reason.SLOT_CONFLICT
        return result


def _reconcile_locked(connection: Connection, database: Database, settings: Settings, preset_id: int) -> PresetResult:
    # Lock, then count in further statements: in one statement with the lock the counts are from before it.
    if not lock_preset(connection, preset_id):
        return PresetResult(str(preset_id), "gone")
    step("reconcile.after_lock")
    turn = _look(connection, database, settings, preset_id)
    step("reconcile.after_reread")
    if isinstance(turn, PresetResult):
        return turn
    view, gated, result = turn
    if _newly_hard_limited(view, settings):
        result.reason = result.reason or Reason.HARD_LIMITED
        reason = f"{view.failures_in_row} builds in a row failed"
        set_preset_status(connection, preset_id, PresetStatus.HARD_LIMITED, reason)
        add_history(connection, "hard_limited", now=view.now, actor=RECONCILER, preset_id=preset_id, reason=reason)
        log.warning("hard_limited", preset=view.ref, failures_in_row=view.failures_in_row)
    _apply(connection, view, gated, settings, result)
    step("reconcile.after_insert")
    bump_generation(connection, preset_id, view.now)
    result.outcome = "changed" if result.builds or result.canceled else "blocked" if result.reason else "steady"
    log.info("reconciled", **result.report())
    step("reconcile.before_commit")
    return result


def _apply(connection: Connection, view: PresetView, gated: Gated, settings: Settings, result: PresetResult) -> None:
    """Deletions first, then cancellations, then creations into the slots that are free by then."""
    now = view.now
    held = dict(view.held_slots)
    for action in gated.actions:
        if isinstance(action, Delete):
            builds = transitions.choose_for_deletion(
                connection, action.ids, reason=action.reason, initiator=RECONCILER, now=now
            )
            result.deleted += len(builds)
            result.builds += builds
            for workspace_id in action.ids:
                held.pop(workspace_id, None)
        elif isinstance(action, CancelPending):
            canceled, builds = transitions.cancel_pending(
                connection,
                view.preset_id,
                action.count,
                reason="extraneous" if view.snapshot.preset.active else "inactive",
                initiator=RECONCILER,
                now=now,
            )
            result.canceled += canceled
            result.builds += builds
    wanted = _creations(connection, view, gated, settings, result)
    if result.canceled:
        held = preset_view.read_slots(connection, view.preset_id)
    slots = assign_slots(held, gated.ceiling, wanted)
    move_slots(connection, slots.moves)
    created = create_prebuilds(connection, view, slots.new, reason="deficit", initiator=RECONCILER, now=now)
    result.created = len(created)
    result.builds += created


def _creations(connection: Connection, view: PresetView, gated: Gated, settings: Settings, result: PresetResult) -> int:
    wanted = _wanted(gated)
    if not wanted or result.reason:
        return 0
    granted = grant(connection, view, wanted, settings)
    if granted.count < wanted and granted.reason:
        result.reason = Reason(granted.reason.value)
    result.wake.update(granted.left_for)
    return granted.count


def _look(
    connection: Connection, database: Database, settings: Settings, preset_id: int
) -> tuple[PresetView, Gated, PresetResult] | PresetResult:
    """Read and decide; the result alone when the pool is gone or paused and nothing is to be done."""
    view = preset_view.read_preset(database, connection, preset_id, settings.backoff_lookback)
    if view is None:
        return PresetResult(str(preset_id), "gone")
    decision = decide(view.snapshot, view.now, timedelta(seconds=settings.backoff_interval))
    result = PresetResult(view.ref, "", decision.state.desired, decision.state.eligible, decision.state.starting)
    if view.paused:
        result.outcome, result.reason = "paused", Reason.PAUSED
        return result
    if view.rests_until and view.now < view.rests_until:
        result.outcome, result.reason = "blocked", Reason.LOST_TURNS
        return result
    result.lost_turns = view.lost_turns
    gated = _gate(connection, view, decision, result)
    if any(isinstance(action, BackOff) for action in gated.actions):
        result.reason = Reason.BACKOFF
    elif _wanted(gated) and view.status is not PresetStatus.HEALTHY:
        result.reason = Reason(view.status.value)
    return view, gated, result


def _gate(connection: Connection, view: PresetView, decision: Decision, result: PresetResult) -> Gated:
    """What of the decision is carried out now: all of it, unless the pool is being replaced by and by.

    Whichever of the two pools moves wakes the other: a ready replacement lets an old one go, whose going makes room.
    """
    if view.snapshot.preset.active:
        if view.replace_strategy != ROLLING:
            return ungated(decision)
        older = read_older(connection, view)
        rolling = Rolling(view.max_surge, timedelta(seconds=view.ready_timeout), older.second_choices)
        if overdue(decision.state, rolling):
            result.wake.update(older.preset_ids)
        return gate_active(view.snapshot, decision, rolling, view.now)
    if not view.snapshot.running or (found := read_successor(connection, view)) is None:
        return ungated(decision)
    successor_id, successor = found
    gated = gate_inactive(view.snapshot, decision, successor, view.now)
    if gated.actions:
        result.wake.add(successor_id)
    return gated


def _wanted(gated: Gated) -> int:
    return sum(action.count for action in gated.actions if isinstance(action, Create))


def _newly_hard_limited(view: PresetView, settings: Settings) -> bool:
    limit = settings.failure_hard_limit
    return bool(limit) and view.status is PresetStatus.HEALTHY and view.failures_in_row >= limit


def _wants_writing(view: PresetView, gated: Gated, settings: Settings) -> bool:
    """Whether anything would be written: a creation that is not held back, a deletion, a cancellation, a new status."""
    for action in gated.actions:
        if isinstance(action, (Delete, CancelPending)):
            return True
        if isinstance(action, Create) and view.status is PresetStatus.HEALTHY:
            return True
    return _newly_hard_limited(view, settings)


def tick_report(snapshot: GlobalSnapshot, sent: int, tick: int) -> Mapping[str, Any]:
    """What a tick did, in a few numbers."""
    return {"tick": tick, "presets": len(snapshot.presets), "sent": sent, "paused": snapshot.paused}
