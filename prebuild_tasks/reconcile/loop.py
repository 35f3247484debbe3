"""The Reconciler of the tasks and the command line: ticks and turns, guarded by locks that save work."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from sqlalchemy import delete, or_, select, update

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import conflict_insert
from prebuild_tasks.faultpoints import step
from prebuild_tasks.fleet import note_tick
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging import Publisher
from prebuild_tasks.reconcile.locks import Locks
from prebuild_tasks.reconcile.port import TickNotDue, TickReport, TurnReport
from prebuild_tasks.reconcile.rules.backoff import rest_after_lost_turns
from prebuild_tasks.reconcile.turn import plan_tick, reconcile_preset
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.lookup import resolve_preset
from prebuild_tasks.workspaces import send

log = get_logger(__name__)


class PoolReconciler:
    """A `Reconciler` with a database, locks in Redis and a publisher of messages."""

    def __init__(self, database: Database, settings: Settings, locks: Locks, publisher: Publisher) -> None:
        self._database = database
        self._settings = settings
        self._locks = locks
        self._publisher = publisher

    def reconcile_all(self, *, force: bool = False) -> TickReport | TickNotDue:
        started = monotonic()
        tick = self._locks.tick(self._settings.reconcile_interval, force=force)
        if tick is None:
            return TickNotDue()
        snapshot, preset_ids = plan_tick(self._database, self._settings)
        shown = {preset_id: str(ref) for preset_id, ref in snapshot.refs(preset_ids).items()}
        sent = self._publisher.reconcile(preset_ids, tick=tick, shown=shown)
        report = TickReport(tick, len(snapshot.presets), sent, snapshot.paused)
        seconds = monotonic() - started
        note_tick(self._database, snapshot.now, asdict(report), seconds)
        log.info("tick", **asdict(report), seconds=round(seconds, 3))
        return report

    def reconcile_preset(self, preset: str, *, tick: int = 0, redelivered: bool = False) -> TurnReport:
        if preset.isdecimal():
            preset_id = int(preset)
        else:
            with self._database.read() as connection:
                preset_id = resolve_preset(connection, preset)

        if redelivered:
            count_lost_turn(self._database, self._settings, preset_id)

        # Flower shows the pool's name with a message. `send_again` is called after the turn, which tells the name.
        shown: dict[str, str] = {}

        def send_again() -> None:
            self._publisher.reconcile([str(preset_id)], shown=shown)

        with self._locks.preset(str(preset_id), tick=tick, on_again=send_again) as lease:
            if not lease.go:
                return TurnReport(preset, lease.outcome)
            step("turn.locked")
            result = reconcile_preset(self._database, self._settings, preset_id)
            shown[str(preset_id)] = result.preset
        send(self._database, self._publisher, result.follow_up)
        if result.lost_turns:
            clear_lost_turns(self._database, preset_id)
        return result.report()


def count_lost_turn(database: Database, settings: Settings, preset_id: int) -> None:
    """Count a turn that crashed its worker, and let the pool rest if there were too many in a row.

    While the pool rests, it gets no turn that could crash a worker: a message that is delivered again meanwhile waited
    with a worker that died of something else, and does not prolong the rest.
    """
    with database.write() as connection:
        if connection.execute(select(m.Preset.id).where(m.Preset.id == preset_id)).one_or_none() is None:
            return
        now = database.now(connection)
        insert = conflict_insert(connection, m.LostTurn).values(preset_id=preset_id, count=1)
        upsert = insert.on_conflict_do_update(
            index_elements=["preset_id"],
            set_={"count": m.LostTurn.count + 1},
            where=or_(m.LostTurn.rests_until.is_(None), m.LostTurn.rests_until <= now),
        )
        count = connection.execute(upsert.returning(m.LostTurn.count)).scalar_one_or_none()
        rest = rest_after_lost_turns(count, timedelta(seconds=settings.backoff_interval)) if count else None
        if rest:
            until = now + rest
            connection.execute(update(m.LostTurn).where(m.LostTurn.preset_id == preset_id).values(rests_until=until))
            log.warning("turns_lost", preset=preset_id, count=count, rests_until=until.isoformat())


def clear_lost_turns(database: Database, preset_id: int) -> None:
    """Record that a turn of this pool ended, so that the count of lost turns is reset."""
    with database.write() as connection:
        connection.execute(delete(m.LostTurn).where(m.LostTurn.preset_id == preset_id))
