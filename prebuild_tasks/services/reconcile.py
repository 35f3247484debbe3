"""Gather, decide, apply: what a tick and a preset's turn do. No Celery here; messages go through a port."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from prebuild_tasks.config import Settings
from prebuild_tasks.core.actions import decide, order_presets
from prebuild_tasks.core.backoff import slow_start_limit
from prebuild_tasks.core.limits import Capped, assign_slots, cap_creations
from prebuild_tasks.core.model import (
    RECONCILER,
    BackOff,
    CancelPending,
    Create,
    Decision,
    Delete,
    GlobalSnapshot,
    PresetStatus,
)
from prebuild_tasks.errors import BusyError
from prebuild_tasks.ports import Publisher
from prebuild_tasks.storage import reads, writes
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.reads import PresetView
from prebuild_tasks.storage.writes import NewBuild

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
    reason: str = ""
    """Why fewer were created than are missing: backoff, hard_limited, a limit's name, …"""
    builds: list[NewBuild] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """The result without what is empty."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "builds"}
        return {name: value for name, value in values.items() if value or name in ("desired", "eligible")}


def plan_tick(database: Database, settings: Settings) -> tuple[GlobalSnapshot, list[str]]:
    """Take the global snapshot and choose whom to send a message, in order. Reads only."""
    with database.snapshot() as connection:
        snapshot = reads.read_global(database, connection, settings.backoff_lookback)
    if snapshot.paused:
        return snapshot, []
    return snapshot, order_presets(snapshot, timedelta(seconds=settings.backoff_interval), settings.fanout)


def reconcile_preset(database: Database, settings: Settings, preset_id: int) -> PresetResult:
    """Drive one pool to its desired size, in one transaction; the caller publishes `builds` after it.

    First without a lock: a pool that is as desired costs three reads and writes nothing. What is decided then counts
    for nothing: everything is read again under the row lock.
    """
    with database.read() as connection:
        turn = _look(connection, database, settings, preset_id)
    if isinstance(turn, PresetResult):
        return turn
    view, decision, result = turn
    if not _wants_writing(view, decision, settings):
        result.outcome = "blocked" if result.reason else "steady"
        return result
    try:
        with database.write() as connection:
            return _reconcile_locked(connection, database, settings, preset_id)
    except BusyError:
        result.outcome, result.reason = "held", "row_lock"
        return result
    except IntegrityError as error:
        # The schema's backstop held what the decision should have: nothing was written, the next turn decides anew.
        log.error("slot_conflict", preset=view.ref, error=str(error.orig))
        result.outcome, result.reason = "held", "slot_conflict"
        return result


def by_host(builds: Iterable[NewBuild]) -> dict[str, list[NewBuild]]:
    """Builds by the host whose queue they belong to, in the order they came."""
    found: dict[str, list[NewBuild]] = {}
    for build in builds:
        found.setdefault(build.queue, []).append(build)
    return found


def publish(database: Database, publisher: Publisher, builds: Sequence[NewBuild]) -> int:
    """Send one token per build, after the commit. What is lost here the sweep sends again.

    Remembered before it is sent: a builds worker that gets the token at once must not find the row locked by us, pass
    over it, and leave the build without a token.
    """
    if not builds:
        return 0
    ids = [build.id for build in builds]
    with database.write() as connection:
        writes.mark_published(connection, ids, database.now(connection))
    sent = publisher.builds({host: [build.id for build in items] for host, items in by_host(builds).items()})
    if not sent:
        with database.write() as connection:
            writes.mark_unpublished(connection, ids)
    return sent


def _reconcile_locked(connection: Connection, database: Database, settings: Settings, preset_id: int) -> PresetResult:
    # Lock, then count in further statements: in one statement with the lock the counts are from before it.
    if not writes.lock_preset(connection, preset_id):
        return PresetResult(str(preset_id), "gone")
    turn = _look(connection, database, settings, preset_id)
    if isinstance(turn, PresetResult):
        return turn
    view, decision, result = turn
    if _newly_hard_limited(view, settings):
        result.reason = result.reason or PresetStatus.HARD_LIMITED.value
        reason = f"{view.failures_in_row} builds in a row failed"
        writes.set_preset_status(connection, preset_id, PresetStatus.HARD_LIMITED, reason)
        writes.add_history(
            connection, "hard_limited", now=view.now, actor=RECONCILER, preset_id=preset_id, reason=reason
        )
        log.warning("hard_limited", preset=view.ref, failures_in_row=view.failures_in_row)
    _apply(connection, view, decision, settings, result)
    writes.bump_generation(connection, preset_id, view.now)
    result.outcome = "changed" if result.builds or result.canceled else "blocked" if result.reason else "steady"
    log.info("reconciled", **result.report())
    return result


def _apply(
    connection: Connection, view: PresetView, decision: Decision, settings: Settings, result: PresetResult
) -> None:
    """Deletions first, then cancellations, then creations into the slots that are free by then."""
    now = view.now
    held = dict(view.held_slots)
    doomed = [action.ids for action in decision.actions if isinstance(action, Delete)]
    for position, ids in enumerate(doomed):
        reason = _deletion_reason(view, decision, position)
        builds = writes.choose_for_deletion(connection, ids, reason=reason, initiator=RECONCILER, now=now)
        result.deleted += len(builds)
        result.builds += builds
        for workspace_id in ids:
            held.pop(workspace_id, None)
    for action in decision.actions:
        if isinstance(action, CancelPending):
            canceled, builds = writes.cancel_pending(
                connection,
                view.preset_id,
                action.count,
                reason="extraneous" if decision.state.desired else "inactive",
                initiator=RECONCILER,
                now=now,
            )
            result.canceled += canceled
            result.builds += builds
    wanted = _creations(connection, view, decision, settings, result)
    if result.canceled:
        held = reads.read_slots(connection, view.preset_id)
    slots = assign_slots(held, decision.state.desired, wanted)
    writes.move_slots(connection, slots.moves)
    created = writes.create_prebuilds(connection, view, slots.new, reason="deficit", initiator=RECONCILER, now=now)
    result.created = len(created)
    result.builds += created


def _creations(
    connection: Connection, view: PresetView, decision: Decision, settings: Settings, result: PresetResult
) -> int:
    wanted = _wanted(decision)
    if not wanted or result.reason:
        return 0
    writes.lock_organization(connection, view.organization_id)
    if settings.max_builds_in_flight:
        writes.lock_installation(connection)
    capped = _cap(wanted, view, reads.read_in_flight(connection, view), settings)
    if capped.count < wanted and capped.reason:
        result.reason = capped.reason
    return capped.count


def _cap(wanted: int, view: PresetView, flying: reads.InFlight, settings: Settings) -> Capped:
    return cap_creations(
        wanted,
        preset_in_flight=flying.preset,
        preset_max=view.max_builds_in_flight,
        organization_in_flight=flying.organization,
        organization_max=flying.organization_max,
        global_in_flight=flying.everywhere,
        global_max=settings.max_builds_in_flight or None,
        organization_workspaces=flying.workspaces,
        organization_max_workspaces=flying.organization_max_workspaces,
        slow_start_limit=slow_start_limit(view.failures_in_row),
    )


def _look(
    connection: Connection, database: Database, settings: Settings, preset_id: int
) -> tuple[PresetView, Decision, PresetResult] | PresetResult:
    """Read and decide; the result alone when the pool is gone or paused and nothing is to be done."""
    view = reads.read_preset(database, connection, preset_id, settings.backoff_lookback)
    if view is None:
        return PresetResult(str(preset_id), "gone")
    decision = decide(view.snapshot, view.now, timedelta(seconds=settings.backoff_interval))
    result = _result(view, decision)
    if view.paused:
        result.outcome, result.reason = "paused", "paused"
        return result
    return view, decision, result


def _result(view: PresetView, decision: Decision) -> PresetResult:
    state = decision.state
    result = PresetResult(view.ref, "", state.desired, state.eligible, state.starting)
    if any(isinstance(action, BackOff) for action in decision.actions):
        result.reason = "backoff"
    elif _wanted(decision) and view.status is not PresetStatus.HEALTHY:
        result.reason = view.status.value
    return result


def _wanted(decision: Decision) -> int:
    return sum(action.count for action in decision.actions if isinstance(action, Create))


def _newly_hard_limited(view: PresetView, settings: Settings) -> bool:
    limit = settings.failure_hard_limit
    return bool(limit) and view.status is PresetStatus.HEALTHY and view.failures_in_row >= limit


def _wants_writing(view: PresetView, decision: Decision, settings: Settings) -> bool:
    """Whether anything would be written: a creation that is not held back, a deletion, a cancellation, a new status."""
    for action in decision.actions:
        if isinstance(action, (Delete, CancelPending)):
            return True
        if isinstance(action, Create) and view.status is PresetStatus.HEALTHY:
            return True
    return _newly_hard_limited(view, settings)


def _deletion_reason(view: PresetView, decision: Decision, position: int) -> str:
    if not view.snapshot.preset.active:
        return "inactive"
    return "expired" if position == 0 and decision.state.expired else "extraneous"


def tick_report(snapshot: GlobalSnapshot, sent: int, tick: int) -> Mapping[str, Any]:
    """What a tick did, in a few numbers."""
    return {"tick": tick, "presets": len(snapshot.presets), "sent": sent, "paused": snapshot.paused}
