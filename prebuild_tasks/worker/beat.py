"""A scheduler for beat that keeps its schedule in memory, and an orderly end of beat."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Never

from celery import beat
from celery.platforms import signals

from prebuild_tasks.clock import utcnow
from prebuild_tasks.worker.reconnect import reconnect_pause

log = logging.getLogger(__name__)

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""Time of the last run that makes an entry due."""


class Scheduler(beat.Scheduler):
    """A scheduler that sends every entry at the start of beat, and then by its interval.

    Celery's own scheduler stores on disk when it last sent each entry. Two beats in one directory, as during an
    upgrade, would overwrite each other's file. A beat with a new disk at each start, as in a container, would never
    send an entry whose interval is longer than the container lives. Sending an entry too often does no harm.
    """

    stopping = False
    _was_connected = False
    _refusal: SystemExit | None = None
    _failures = 0
    _seen = LONG_AGO

    def setup_schedule(self) -> None:
        """Make every entry due."""
        super().setup_schedule()
        self._make_all_due()

    def tick(self, *args: Any, **options: Any) -> float:
        """Send the due entries, and return the seconds to sleep."""
        if self.stopping:
            raise SystemExit
        now = utcnow()
        if now < self._seen:
            # Celery compares with the machine's clock, so it would send nothing until the clock has caught up.
            log.warning("the machine's clock was set back by %s: every entry is sent now", self._seen - now)
            self._make_all_due()
        self._seen = now
        try:
            delay = super().tick(*args, **options)
        except Exception as error:  # noqa: BLE001 - Celery lets errors of the broker end beat
            return self._reconnect_after(error)
        if delay:  # it sends nothing now, so what was due has been sent
            self._failures = 0
        return delay

    def close(self) -> None:
        """End the schedule. Raises what ends beat with an exit code, which Celery drops when a tick raises it."""
        super().close()
        if self._refusal:
            raise self._refusal

    def _ensure_connected(self) -> Any:
        """Connect, and return the connection. Once beat has been connected, this tries again until it can.

        Before that each attempt asks whether Redis refuses this beat: kombu would take refused credentials for a lost
        connection, and try for ever.
        """
        if self._was_connected:
            return super()._ensure_connected()  # type: ignore[misc]  # Celery's stubs leave it out
        from prebuild_tasks.worker.access import require_access

        try:
            require_access()
        except SystemExit as refusal:
            self._refusal = refusal
            raise
        connected = self.connection.ensure_connection(max_retries=0)
        self._was_connected = True
        return connected

    def _reconnect_after(self, error: Exception) -> float:
        """Drop the connection, make every entry due, and return the seconds to wait before the next attempt."""
        log.error("beat lost its connection to Redis: %s: %s", type(error).__name__, error)
        self._failures += 1
        for name in ("producer", "connection"):
            dropped = self.__dict__.pop(name, None)
            if name == "connection" and dropped is not None:
                with suppress(Exception):
                    dropped.close()
        self._make_all_due()
        return reconnect_pause(self._failures + 1)

    def _make_all_due(self) -> None:
        for entry in self.schedule.values():
            entry.last_run_at = LONG_AGO
        self._heap = None


def end_on_signals(service: beat.Service) -> None:
    """Let SIGTERM and SIGINT end beat with exit code 0 at any moment, even while it sends a message.

    Celery's own handler closes the connection first. A message that is being sent then fails, the failure is only
    logged, and the loop goes on with a closed connection.
    """

    def end(*_: object) -> Never:
        # In case the exception below is lost, as in a destructor; the next tick then ends beat.
        if isinstance(service.scheduler, Scheduler):
            service.scheduler.stopping = True
        raise SystemExit

    signals.update(SIGTERM=end, SIGINT=end)
