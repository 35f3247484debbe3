"""The Reconciler that everybody uses: tasks, the command line, tests. Locks save work, the services do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.faultpoints import step
from prebuild_tasks.locks import Locks
from prebuild_tasks.ports import Publisher
from prebuild_tasks.services import lost_turns
from prebuild_tasks.services.liveness import note_tick
from prebuild_tasks.services.reconcile import follow_up, plan_tick, reconcile_preset, tick_report
from prebuild_tasks.storage.conditions import resolve_preset
from prebuild_tasks.storage.engine import Database

log = structlog.get_logger(__name__)


class PoolReconciler:
    """ports.Reconciler over a database, Redis locks and a publisher."""

    def __init__(self, database: Database, settings: Settings, locks: Locks, publisher: Publisher) -> None:
        self._database = database
        self._settings = settings
        self._locks = locks
        self._publisher = publisher

    def reconcile_all(self, *, force: bool = False) -> Mapping[str, Any]:
        started = monotonic()
        tick = self._locks.tick(self._settings.reconcile_interval, force=force)
        if tick is None:
            return {"outcome": "not due"}
        snapshot, preset_ids = plan_tick(self._database, self._settings)
        sent = self._publisher.reconcile(preset_ids, tick=tick, shown=snapshot.refs(preset_ids))
        report = tick_report(snapshot, sent, tick)
        seconds = monotonic() - started
        note_tick(self._database, snapshot.now, report, seconds)
        log.info("tick", **report, seconds=round(seconds, 3))
        return report

    def reconcile_preset(self, preset: str, *, tick: int = 0, redelivered: bool = False) -> Mapping[str, Any]:
        if preset.isdecimal():
            preset_id = int(preset)
        else:
            with self._database.read() as connection:
                preset_id = resolve_preset(connection, preset)

        if redelivered:
            lost_turns.note(self._database, self._settings, preset_id)

        shown: dict[str, str] = {}

        def once_more() -> None:
            self._publisher.reconcile([str(preset_id)], shown=shown)

        with self._locks.preset(str(preset_id), tick=tick, on_again=once_more) as lease:
            if not lease.go:
                return {"preset": preset, "outcome": lease.outcome}
            step("turn.locked")
            result = reconcile_preset(self._database, self._settings, preset_id)
            shown[str(preset_id)] = result.preset
        follow_up(self._database, self._publisher, result.builds, result.wake)
        if result.lost_turns:
            lost_turns.forget(self._database, preset_id)
        return result.report()
