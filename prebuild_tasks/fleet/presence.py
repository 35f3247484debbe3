"""How a long-running process says in the database, now and then, that it is here."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import structlog
from sqlalchemy import case, literal, update

from prebuild_tasks import __version__
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import UtcDateTime, conflict_insert
from prebuild_tasks.schema import tables as m

log = structlog.get_logger(__name__)

Role = Literal["worker", "builds", "beat"]
"""A control worker; a worker that serves a host's builds, whatever else it serves; beat."""
BUILDS_ROLE: Role = "builds"

_BEATS_PER_TIMEOUT = 4
_PAUSE_MAX, _PAUSE_MIN = 10.0, 0.2
_FORK_PATIENCE = 10.0
"""Seconds a fork waits for a word that is just being said; a word is bounded by the connection's time limits."""


def recent(settings: Settings, now: datetime) -> datetime:
    """Who was heard of since then is alive."""
    return now - timedelta(seconds=max(settings.heartbeat_timeout, 5.0))


class Presence:
    """Says that this process is here, from a thread of its own.

    `database` must be nobody else's: it is closed after each word. A prefork worker replaces its children at any
    moment, and none may inherit a connection, or a lock of SQLite's that is held right then; so forks wait for a word
    that is being said. `queues` is asked each time for the full names of the queues that the process consumes.
    """

    def __init__(
        self, database: Database, settings: Settings, role: Role, queues: Callable[[], Sequence[str]] = tuple
    ) -> None:
        self._database = database
        self._host = settings.host
        self._role = role
        self._queues = queues
        self._name = f"{settings.host}/{os.getpid()}/{socket.gethostname()}/{uuid.uuid4().hex[:8]}"
        self._pause = max(min(settings.heartbeat_timeout / _BEATS_PER_TIMEOUT, _PAUSE_MAX), _PAUSE_MIN)
        self._over = threading.Event()
        self._talking = threading.Lock()
        self._forking = False
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        os.register_at_fork(before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._after_fork)
        self._thread.start()

    def stop(self) -> None:
        """End, and say so. When that can't be said, how long ago the last word was tells the same a little later."""
        if self._over.is_set():
            return
        self._over.set()
        self._thread.join(5)

    def announce(self) -> None:
        """One word; `started_at` is since when there was no gap."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            values: dict[str, object] = {"seen_at": now, "role": self._role, "queues": list(self._queues())}
            # Of the code that runs, not of the package on disk, which may have been replaced meanwhile.
            insert = conflict_insert(connection, m.Worker).values(
                name=self._name, host=self._host, started_at=now, version=__version__, **values
            )
            # A machine that slept has not watched the others: it begins anew.
            slept = m.Worker.seen_at < now - timedelta(seconds=10 * self._pause)
            values["started_at"] = case((slept, literal(now, UtcDateTime())), else_=m.Worker.started_at)
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=values))

    def announce_end(self) -> None:
        """The last word: nobody has to wait until this process counts as gone."""
        with self._database.write() as connection:
            mine = m.Worker.name == self._name
            connection.execute(update(m.Worker).where(mine).values(ended_at=self._database.now(connection)))

    def _run(self) -> None:
        while True:
            self._talk(self.announce)
            if self._over.wait(self._pause):
                self._talk(self.announce_end)
                return

    def _talk(self, word: Callable[[], None]) -> None:
        with self._talking:
            try:
                word()
            except Exception as error:  # noqa: BLE001 - must not go silent because of one word
                log.warning("presence_not_said", error=str(error))
            finally:
                self._database.close()

    def _before_fork(self) -> None:
        self._forking = self._talking.acquire(timeout=_FORK_PATIENCE)

    def _after_fork(self) -> None:
        if self._forking:
            self._talking.release()
