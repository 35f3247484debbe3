"""The tick and the turn of a preset: read, decide, write. Messages are left to the caller."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError
from prebuild_tasks.faultpoints import step
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.event_kinds import EXPIRED, INACTIVE
from prebuild_tasks.model.records import changed_fields, part_of
from prebuild_tasks.model.text import number
from prebuild_tasks.model.vocabulary import RECONCILER, PresetStatus
from prebuild_tasks.reconcile.budgets import lock_limits
from prebuild_tasks.reconcile.port import TurnReport
from prebuild_tasks.reconcile.rules.decide import choose, order_presets
from prebuild_tasks.reconcile.rules.limits import assign_slots
from prebuild_tasks.reconcile.rules.model import GlobalSnapshot
from prebuild_tasks.reconcile.rules.news import to_tell
from prebuild_tasks.reconcile.rules.next_turn import NextTurn, next_turn
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.rules.rollout import ALONE, PoolVersion
from prebuild_tasks.reconcile.rules.wants import Quantities, Wanted, wants
from prebuild_tasks.reconcile.store import preset_view, snapshots
from prebuild_tasks.reconcile.store.other_versions import read_other_versions
from prebuild_tasks.reconcile.store.preset_view import PresetView
from prebuild_tasks.reconcile.store.write import (
    bump_generation,
    create_prebuilds,
    move_slots,
    set_preset_status,
    set_told,
)
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import lock_preset
from prebuild_tasks.schema.rules import is_active
from prebuild_tasks.workspaces import FollowUp, NewBuild, cancel_pending, choose_for_deletion, record_deletions

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PresetResult:
    """The result of one turn, which Flower shows."""

    preset: str
    outcome: str
    """`steady`, `changed`, `blocked`, `paused`, `gone`, or `held` (another turn has the preset's row lock)."""
    desired: int = 0
    eligible: int = 0
    starting: int = 0
    created: int = 0
    deleted: int = 0
    canceled: int = 0
    lost_turns: int = 0
    """The number of turns right before this one that crashed their worker."""
    reason: Reason | None = None
    """Why fewer prebuilds were created than are missing."""
    follow_up: FollowUp = field(kw_only=True)
    """The builds, and other presets that can proceed now and would otherwise wait for the tick."""

    def report(self) -> TurnReport:
        """Return the result without the follow-up."""
        return replace(part_of(self, TurnReport), reason=self.reason.value if self.reason else "")


@dataclass(frozen=True, slots=True)
class Look:
    """A pool as it was read, and what its turn would do without limits."""

    view: PresetView
    wanted: Wanted
    turn: NextTurn

    @property
    def writes(self) -> bool:
        """Return whether there is anything to write."""
        if self.turn.writes:
            return True
        if self.wanted.pool.gets_no_turn(self.view.now):
            return False
        return to_tell(self.wanted, self.view.told, self.turn.reason, limits_read=False) != self.view.told

    @property
    def result(self) -> PresetResult:
        """Return the result of a turn that changes no prebuild."""
        state, gets_no_turn = self.wanted.state, self.wanted.pool.gets_no_turn(self.view.now)
        return PresetResult(
            str(self.view.ref),
            self.turn.outcome,
            state.desired,
            state.eligible,
            state.starting,
            lost_turns=0 if gets_no_turn else self.view.lost_turns,
            reason=self.turn.reason,
            follow_up=FollowUp.of(wake=self.turn.wake),
        )


def plan_tick(database: Database, settings: Settings) -> tuple[GlobalSnapshot, list[str]]:
    """Take the global snapshot, and choose the presets that get a message, in order. Reads only."""
    with database.snapshot() as connection:
        snapshot = snapshots.read_global(database, connection, settings.backoff_lookback)
    if snapshot.paused:
        return snapshot, []
    return snapshot, order_presets(snapshot, timedelta(seconds=settings.backoff_interval), settings.fanout)


def reconcile_preset(database: Database, settings: Settings, preset_id: int) -> PresetResult:
    """Drive one pool to its desired size in one transaction. The caller then sends the follow-up.

    The pool is first read without a lock, so that one that has its desired size costs three reads and no write. If
    there is something to do, that reading is thrown away, and everything is read again under the row lock.
    """
    with database.read() as connection:
        seen = look(connection, database, settings, preset_id)
    if seen is None:
        return PresetResult(str(preset_id), "gone", follow_up=FollowUp())
    if not seen.writes:
        return seen.result
    step("turn.looked")
    try:
        with database.write() as connection:
            return _reconcile_locked(connection, database, settings, preset_id)
    except BusyError:
        return replace(seen.result, outcome="held", reason=Reason.ROW_LOCK)
    except IntegrityError as error:
        # The schema refused a surplus that the decision should have prevented. Nothing was written; the next turn
        # decides again.
        log.error("slot_conflict", preset=str(seen.view.ref), error=str(error.orig))
        return replace(seen.result, outcome="held", reason=Reason.SLOT_CONFLICT)


def look(connection: Connection, database: Database, settings: Settings, preset_id: int) -> Look | None:
    """Read a pool, and compute its next turn without limits; None if there is no such preset."""
    view = preset_view.read_preset(database, connection, preset_id, settings.backoff_lookback)
    if view is None:
        return None
    pool = PoolVersion.of_stored(view, timedelta(seconds=settings.backoff_interval), settings.failure_hard_limit)
    pool = pool.with_rows(view.snapshot.running, view.now)
    others = ALONE if pool.gets_no_turn(view.now) else read_other_versions(connection, view)
    wanted = wants(pool, others, view.now)
    return Look(view, wanted, next_turn(wanted, None, view.now))


def _reconcile_locked(connection: Connection, database: Database, settings: Settings, preset_id: int) -> PresetResult:
    # Lock, then count in other statements: counts in the locking statement would be from before the lock.
    if not lock_preset(connection, preset_id):
        return PresetResult(str(preset_id), "gone", follow_up=FollowUp())
    step("reconcile.after_lock")
    seen = look(connection, database, settings, preset_id)
    step("reconcile.after_reread")
    if seen is None:
        return PresetResult(str(preset_id), "gone", follow_up=FollowUp())
    if seen.wanted.pool.gets_no_turn(seen.view.now):
        return seen.result
    if not seen.turn.writes:
        _tell(connection, seen, seen.turn.reason, limits_read=False)
        return seen.result
    if seen.turn.status is not None:
        _set_status(connection, seen.view, seen.turn.status)
    result = _apply(connection, seen, settings)
    step("reconcile.after_insert")
    _tell(connection, seen, result.reason, limits_read=seen.turn.does.create > 0)
    bump_generation(connection, preset_id, seen.view.now)
    log.info("reconciled", **changed_fields(result.report()))
    step("reconcile.before_commit")
    return result


def _set_status(connection: Connection, view: PresetView, status: PresetStatus) -> None:
    reason = f"{number(view.failures_in_row, 'build')} of this version failed in a row"
    set_preset_status(connection, view.preset_id, status, reason)
    add_history(connection, status.value, now=view.now, actor=Actor.system(), preset_id=view.preset_id, reason=reason)
    log.warning(status.value, preset=str(view.ref), failures_in_row=view.failures_in_row)


def _tell(connection: Connection, seen: Look, reason: Reason | None, *, limits_read: bool) -> None:
    """Write the events that the pool has become short or full, or cannot fill up because of its quota."""
    view, state = seen.view, seen.wanted.state
    told = to_tell(seen.wanted, view.told, reason, limits_read=limits_read)
    if told == view.told:
        return
    set_told(connection, view.preset_id, told)
    sizes = {"desired": state.desired, "eligible": state.eligible}
    events = ["pool_short" if told.is_short else "pool_full"] if told.is_short != view.told.is_short else []
    events += ["quota_reached"] if told.is_limited and not view.told.is_limited else []
    for event in events:
        add_history(
            connection, event, now=view.now, actor=Actor.system(), preset_id=view.preset_id,
            reason=reason.value if reason else "", details=sizes,
        )  # fmt: skip


def _apply(connection: Connection, seen: Look, settings: Settings) -> PresetResult:
    """Delete, then cancel, then create into the slots that are free by then."""
    view, wanted, turn = seen.view, seen.wanted, seen.turn
    if turn.does.create:
        # schema/row_locks.py has the organization's lock before those of workspaces.
        turn = next_turn(wanted, lock_limits(connection, view, turn.does.create, settings), view.now)
    held = dict(view.held_slots)
    builds: list[NewBuild] = []
    for action in choose(view.snapshot, wanted, view.now):
        chosen = choose_for_deletion(connection, action.ids, reason=action.reason, initiator=RECONCILER, now=view.now)
        if action.reason in (EXPIRED, INACTIVE):
            record_deletions(connection, chosen, event=action.reason, now=view.now)
        builds += chosen
        for workspace_id in action.ids:
            held.pop(workspace_id, None)
    deleted, canceled = len(builds), 0
    if turn.does.cancel:
        reason = "extraneous" if is_active(view.snapshot.preset) else INACTIVE
        canceled, deletions = cancel_pending(
            connection, view.preset_id, turn.does.cancel, reason=reason, initiator=RECONCILER, now=view.now
        )
        builds += deletions
    if canceled:
        held = preset_view.read_slots(connection, view.preset_id)
    slots = assign_slots(held, wanted.ceiling, turn.does.create)
    move_slots(connection, slots.moves)
    created = create_prebuilds(connection, view, slots.new, reason="deficit", initiator=RECONCILER, now=view.now)
    builds += created
    # Less may have been done than was decided: a claim may have taken a prebuild that was to be deleted.
    done = replace(seen, turn=turn._replace(does=Quantities(deleted, canceled, len(created)))).result
    follow_up = done.follow_up | FollowUp.of(builds)
    return replace(done, created=len(created), deleted=deleted, canceled=canceled, follow_up=follow_up)
