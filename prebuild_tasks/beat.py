"""Beat's schedule, kept in memory, and how beat ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Never

from celery import beat
from celery.platforms import signals

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Scheduler(beat.Scheduler):
    """Sends everything once when it starts, then by its intervals.

    Celery's own keeps on disk when what was sent last. Two beats in one directory, as they are while one release takes
    over from another, would write over each other's file; and a beat whose disk is new with each start, as in a
    container, would never come to what is sent more rarely than it is restarted. What is sent too often does no harm.
    """

    stopping = False

    def setup_schedule(self) -> None:
        super().setup_schedule()
        for entry in self.schedule.values():
            entry.last_run_at = LONG_AGO

    def tick(self, *args: Any, **options: Any) -> float:
        if self.stopping:
            raise SystemExit
        return super().tick(*args, **options)


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
