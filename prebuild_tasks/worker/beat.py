"""Keep beat's schedule in memory, and end beat in order."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Never

from celery import beat
from celery.platforms import signals

from prebuild_tasks.clock import utcnow

log = logging.getLogger(__name__)

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Scheduler(beat.Scheduler):
    """Send every entry once at the start, then by its interval.

    Celery's own scheduler stores on disk when it last sent each entry. Two beats in one directory, as there are while
    one release replaces another, would overwrite each other's file; and a beat whose disk is new with each start, as in
    a container, would never send an entry whose interval is longer than it lives. Sending too often does no harm.
    """

    stopping = False
    _seen = LONG_AGO

    def setup_schedule(self) -> None:
        """Make every entry due."""
        super().setup_schedule()
        self._make_all_due()

    def tick(self, *args: Any, **options: Any) -> float:
        """Send what is due; returns the seconds to sleep."""
        if self.stopping:
            raise SystemExit
        now = utcnow()
        if now < self._seen:
            # Celery waits for instants of the machine's clock. Set back by an hour, it would send nothing for an hour.
            log.warning("the machine's clock was set back by %s: everything is sent now", self._seen - now)
            self._make_all_due()
        self._seen = now
        return super().tick(*args, **options)

    def _make_all_due(self) -> None:
        for entry in self.schedule.values():
            entry.last_run_at = LONG_AGO
        self._heap = None


def end_on_signals(service: beat.Service) -> None:
    """Let SIGTERM and SIGINT end beat with exit code 0 wherever it is, in the midst of sending a message, too.

    Celery's own handler closes the connection first. What is being sent over it then fails, the failure is logged as
    that message's instead of ending anything, and the loop goes on with what is closed.
    """

    def end(*_: object) -> Never:
        # For the case that the exception below is lost, as it is in a destructor.
        if isinstance(service.scheduler, Scheduler):
            service.scheduler.stopping = True
        raise SystemExit

    signals.update(SIGTERM=end, SIGINT=end)
