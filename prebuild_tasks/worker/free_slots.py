"""Builds for the free threads of a builds worker, whichever worker has their messages.

A worker receives up to as many messages as it has threads while all of them are busy. What these messages are for
waits there, even if another worker has nothing to do. So a worker with a free thread looks for pending builds in the
database, and gives itself a message for each. The message that waits elsewhere then finds nothing to do. This also
makes up for messages that were lost with Redis or with a worker.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from math import inf
from typing import Any

from celery.worker import state
from kombu import Message
from kombu.serialization import dumps

from prebuild_tasks.builds import IsolatedProcesses, SilentProvisioners, WaitingBuild, hold_untaken, waiting_builds
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging import BUILDS, RUN_BUILD

log = get_logger(__name__)

PAUSE = 0.25
"""Seconds between two looks: the longest that a build waits beside a free thread."""
_HOLD_PAUSE = 1.0
"""Seconds between two looks whether starts that are left alone are held, or left to another machine."""
_LOOP_PATIENCE = 5.0
"""Seconds after which messages count as lost that the event loop has not taken, as when it lost Redis meanwhile."""


class FreeSlots:
    """Look for pending builds in a thread of its own, while a thread of the worker's pool is free.

    Args:
        consumer: Celery's consumer of this worker, whose pool is one of threads.
        database: The database.
        settings: The settings.
        isolated: The processes for builds that lost their worker before.
        silent: The provisioners that could not be asked.
    """

    def __init__(
        self,
        consumer: Any,
        database: Database,
        settings: Settings,
        isolated: IsolatedProcesses,
        silent: SilentProvisioners,
    ) -> None:
        self._consumer = consumer
        self._database = database
        self._settings = settings
        self._isolated = isolated
        self._silent = silent
        self._given_at = -inf
        """When messages were given to the event loop that it has not taken yet; otherwise long ago."""
        self._held_at = -inf
        """When starts that are left alone were held the last time."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="free-slots", daemon=True)

    def start(self) -> None:
        """Start the thread and return at once."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def look(self) -> int:
        """Let the worker run as many pending builds as it has free threads, and return their number."""
        if monotonic() - self._given_at < _LOOP_PATIENCE:
            return 0
        # What was received and waits for a thread counts as well: it may be a message of another kind.
        free = self._consumer.pool.limit - len(state.reserved_requests)
        queues = self._queues()
        if free <= 0 or not queues:
            return 0
        # Otherwise threads would wait for a process that is free.
        untried = not self._isolated.is_one_free()
        with self._database.read() as connection:
            now, avoided = self._database.now(connection), self._silent.avoided()
            builds = waiting_builds(connection, queues, now, free, untried=untried, avoided=avoided)
        if avoided and monotonic() - self._held_at > _HOLD_PAUSE:
            self._held_at = monotonic()
            with self._database.write() as connection:
                hold_untaken(connection, self._settings, self._silent, avoided, now)
        if builds and not self._stopped.is_set():
            self._given_at = monotonic()
            self._consumer.call_soon(self._receive, builds)
        return len(builds)

    def _queues(self) -> list[str]:
        """Return the hosts of the builds queues that the worker consumes now; `control` can cancel them."""
        consumed = self._consumer.app.amqp.queues.consume_from
        return [host for host in (self._settings.host, "") if self._settings.queue(BUILDS, host) in consumed]

    def _receive(self, builds: Sequence[WaitingBuild]) -> None:
        """Treat each build as if its message had just been received. Runs in the event loop."""
        self._given_at = -inf
        try:
            for build in builds:
                message = self._message(build)
                self._consumer.strategies[RUN_BUILD](message, None, _nothing, _nothing, ())
        except Exception as error:  # noqa: BLE001 - it would end the worker; the builds are still pending
            log.warning("pending_builds_not_taken", builds=len(builds), error=str(error))

    def _message(self, build: WaitingBuild) -> Message:
        shown = f"{build.id}: {build.work}"
        task = self._consumer.app.amqp.as_task_v2(
            str(uuid.uuid4()), RUN_BUILD, args=[build.id], argsrepr=repr((shown,))
        )
        content_type, encoding, body = dumps(task.body, serializer="json")
        return Message(
            body,
            content_type=content_type,
            content_encoding=encoding,
            headers=task.headers,
            properties=task.properties,
            delivery_info={"exchange": "", "routing_key": self._settings.queue(BUILDS, build.queue)},
        )

    def _run(self) -> None:
        while not self._stopped.wait(PAUSE):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - one failed look must not end them
                log.debug("pending_builds_not_read", error=str(error))


def _nothing(*_: object, **__: object) -> None:
    """Acknowledge or reject a message that never was in Redis."""
