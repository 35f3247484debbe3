"""The watch of a builds worker over all leases: builds whose worker has died are taken back as soon as theirs run out.

Without it they waited for the next sweep. The sweep still does the same, for when no builds worker is left.
"""

from __future__ import annotations

import threading
from math import inf

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging import Publisher
from prebuild_tasks.upkeep.sweep import look_pause, take_back_lost
from prebuild_tasks.workspaces import send

log = get_logger(__name__)

_STOP_PATIENCE = 5.0
"""Seconds that the end of the worker waits for a look in progress."""


class LeaseWatch:
    """Take back builds whose lease has run out, in a thread of its own."""

    def __init__(self, database: Database, settings: Settings, publisher: Publisher) -> None:
        self._database = database
        self._settings = settings
        self._publisher = publisher
        self._pause = look_pause(settings)
        self._looked_at = -inf
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-watch", daemon=True)

    def start(self) -> None:
        """Start the thread and return at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_PATIENCE)

    def look(self) -> int:
        """Take back the builds whose lease has run out, send what follows, and return their number.

        Nothing is taken back at the first look, nor after a gap: while the database was away, or this machine was
        suspended, nobody could renew a lease. A look's pause is enough for the living to do so.
        """
        is_continuous = monotonic() - self._looked_at <= 2 * self._pause
        taken = 0
        if is_continuous:
            result = take_back_lost(self._database, self._settings)
            send(self._database, self._publisher, result.follow_up)
            taken = result.retaken + result.ended
        else:
            with self._database.read() as connection:
                self._database.now(connection)
        self._looked_at = monotonic()
        return taken

    def _run(self) -> None:
        while not self._stopped.wait(self._pause):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - one failed look must not end the watch
                self._looked_at = -inf
                log.warning("leases_not_watched", error=str(error))
