"""Presence: a long-running process announces itself in the database at regular intervals."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import case, literal, update

from prebuild_tasks import __version__
from prebuild_tasks.claim_settings import announcement_window
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import UtcDateTime, conflict_insert
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.machine import machine_id
from prebuild_tasks.schema import tables as m

log = get_logger(__name__)

Role = Literal["worker", "builds", "beat", "webhooks"]
"""A control worker; a worker that consumes a builds queue, whatever else it consumes; beat; a worker that only sends
webhooks."""
BUILDS_ROLE: Role = "builds"

_ANNOUNCEMENTS_PER_TIMEOUT = 4
_PAUSE_MAX, _PAUSE_MIN = 10.0, 0.2
"""Bounds of the pause between two announcements, in seconds."""
_FORK_PATIENCE = 10.0
"""Seconds that a fork waits for an announcement in progress, which the connection's timeouts bound."""


def recent(settings: Settings, now: datetime) -> datetime:
    """Return the instant since which a live process must have announced itself."""
    return now - timedelta(seconds=announced_within(settings))


def announced_within(settings: Settings) -> float:
    """Return the seconds within which a live process has announced itself."""
    return announcement_window(settings.heartbeat_timeout)


class Presence:
    """Announces this process from its own thread.

    `database` must not be shared, because it is closed after each announcement. A prefork worker replaces its children
    at any time, and a child must not inherit a connection, or a lock that SQLite holds at that moment; so a fork waits
    for an announcement in progress. `queues` is called each time for the full names of the queues that the process
    consumes. `announced` is called after each announcement with the database and this process's name.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        role: Role,
        queues: Callable[[], Sequence[str]] = tuple,
        announced: Callable[[Database, str], None] = lambda _database, _name: None,
    ) -> None:
        self._database = database
        self._host = settings.host
        self._role = role
        self._queues = queues
        self._announced = announced
        self.name = f"{settings.host}/{os.getpid()}/{socket.gethostname()}/{uuid.uuid4().hex[:8]}"
        self.name += f"/{machine_id()}" if machine_id() else ""
        """The name of this process in the database."""
        self._pause = max(min(settings.heartbeat_timeout / _ANNOUNCEMENTS_PER_TIMEOUT, _PAUSE_MAX), _PAUSE_MIN)
        self._stopped = threading.Event()
        self._writing = threading.Lock()
        self._forking = False
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Start the thread and return at once."""
        os.register_at_fork(before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._after_fork)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, which announces the end. If that fails, the process counts as dead after the timeout."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._thread.join(5)

    def announce(self) -> None:
        """Write this process's row. `started_at` is the start of its uninterrupted presence."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            values: dict[str, object] = {"seen_at": now, "role": self._role, "queues": list(self._queues())}
            # The version of the running code; the package on disk may have been replaced meanwhile.
            insert = conflict_insert(connection, m.Worker).values(
                name=self.name, host=self._host, started_at=now, version=__version__, **values
            )
            # A machine that slept has not seen the other processes meanwhile, so its presence starts again.
            slept = m.Worker.seen_at < now - timedelta(seconds=10 * self._pause)
            values["started_at"] = case((slept, literal(now, UtcDateTime())), else_=m.Worker.started_at)
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=values))

    def announce_end(self) -> None:
        """Write that this process ends, so that it counts as gone at once."""
        with self._database.write() as connection:
            own_row = m.Worker.name == self.name
            connection.execute(update(m.Worker).where(own_row).values(ended_at=self._database.now(connection)))

    def _run(self) -> None:
        while True:
            self._write(self._announce)
            if self._stopped.wait(self._pause):
                self._write(self.announce_end)
                return

    def _announce(self) -> None:
        self.announce()
        self._announced(self._database, self.name)

    def _write(self, announcement: Callable[[], None]) -> None:
        with self._writing:
            try:
                announcement()
            except Exception as error:  # noqa: BLE001 - one failure must not end the announcements
                log.warning("presence_not_announced", error=str(error))
            finally:
                self._database.close()

    def _before_fork(self) -> None:
        self._forking = self._writing.acquire(timeout=_FORK_PATIENCE)

    def _after_fork(self) -> None:
        if self._forking:
            self._writing.release()
