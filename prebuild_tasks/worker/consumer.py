"""The worker's connection to the broker: whatever fails there, the worker reconnects.

Celery ends a worker on every error but a lost connection: when Redis has become a replica, refuses writes because its
disk is full, or takes away the user's rights; and when Celery's own clean-up after a lost connection fails.
"""

from __future__ import annotations

import time
from typing import Any

from celery.worker import consumer
from celery.worker.state import maybe_shutdown
from kombu.exceptions import OperationalError
from redis.exceptions import AuthenticationError, NoPermissionError

from prebuild_tasks.clock import monotonic
from prebuild_tasks.logs import get_logger
from prebuild_tasks.worker.reconnect import failures_in_a_row, reconnect_pause

log = get_logger(__name__)

GRACE = 5.0
"""Seconds without a connection after which the worker says that it consumes nothing."""
_SLICE = 0.2
"""Seconds between two looks whether the worker was asked to end."""


class BrokerFailedError(Exception):
    """The broker answered with an error, or the clean-up after one failed. The worker reconnects."""


class Consumer(consumer.Consumer):
    """Celery's consumer, which reconnects after every error once the worker has been ready.

    Before that, a Redis that refuses it ends the worker with an error message, even if it did not answer at first, and
    errors that do not come from Redis end it as in Celery. Gossip and mingle are off, which only make workers talk to
    each other; Flower and `celery inspect` do not need them.

    `tests/worker/test_consumer.py` fails if Celery changes what this class relies on.
    """

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc,valid-type]  # a variable in Celery's stubs
        """The steps of connecting and consuming."""

        def start(self, parent: Any) -> None:
            """Connect and consume. Raises only errors after which the consumer reconnects, or the worker must end."""
            try:
                super().start(parent)
            except (*parent.connection_errors, MemoryError):
                raise
            except Exception as error:
                raise parent.converted(error) from error

    connection_errors: tuple[type[BaseException], ...]
    channel_errors: tuple[type[BaseException], ...]

    def __init__(self, on_task_request: Any, worker_options: dict[str, object] | None = None, **options: Any) -> None:
        self.was_ready = False
        self._failures = 0
        self._consuming_since: float | None = None
        self._failing_since: float | None = None
        alone = {"without_gossip": True, "without_mingle": True}
        super().__init__(on_task_request, worker_options={**(worker_options or {}), **alone}, **options)
        self.connection_errors = (*self.connection_errors, BrokerFailedError)

    @property
    def is_connected(self) -> bool:
        """Whether the worker consumes its queues, or has lost its connection only a moment ago."""
        return self._failing_since is None or self._consumed_for() >= GRACE or monotonic() - self._failing_since < GRACE

    def on_ready(self) -> None:
        """Note that the worker consumes now."""
        self.was_ready = True
        self._consuming_since = monotonic()
        super().on_ready()

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, and return the connection. Once the worker has been ready, this tries again until it can.

        Before that each attempt asks whether Redis refuses this worker: kombu would take refused credentials for a
        lost connection, and try for ever.
        """
        if self.was_ready:
            return super().ensure_connected(conn)
        from prebuild_tasks.worker.access import require_access

        require_access()
        return conn.ensure_connection(max_retries=0, reraise_as_library_errors=False)

    def converted(self, error: Exception) -> BaseException:
        """Return what to raise for an error that Celery would end the worker for."""
        if self.was_ready:
            log.error("broker_failed", error=f"{type(error).__name__}: {error}", exc_info=error)
            return BrokerFailedError(f"{type(error).__name__}: {error}")
        cause = _of_redis(error)
        if isinstance(cause, AuthenticationError | NoPermissionError):
            from prebuild_tasks.worker.access import refuse

            return refuse(cause)
        is_of_redis = isinstance(cause, (*self.connection_errors, *self.channel_errors))
        return BrokerFailedError(str(cause)) if is_of_redis else error

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Wait before the next attempt, longer after each failure."""
        super().on_connection_error_before_connected(exc)
        self._wait()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the connection, whatever fails while doing so, and wait before the next attempt."""
        try:
            super().on_connection_error_after_connected(exc)
        except Exception as error:  # noqa: BLE001 - the connection is given up in any case
            log.warning("connection_not_closed", error=f"{type(error).__name__}: {error}")
            self.connection = None
        self._wait()

    def on_close(self) -> None:
        """Forget the messages of the lost connection, whatever fails while doing so: Redis delivers them again."""
        try:
            super().on_close()
        except Exception as error:
            log.exception("messages_not_forgotten", error=f"{type(error).__name__}: {error}")

    def _wait(self) -> None:
        now, consumed = monotonic(), self._consumed_for()
        self._failures = failures_in_a_row(self._failures, consumed)
        if self._failing_since is None or consumed >= GRACE:
            self._failing_since = now
        self._consuming_since = None
        until = now + reconnect_pause(self._failures)
        while (left := until - monotonic()) > 0:
            maybe_shutdown()
            time.sleep(min(left, _SLICE))

    def _consumed_for(self) -> float:
        return monotonic() - self._consuming_since if self._consuming_since is not None else 0.0


def _of_redis(error: Exception) -> BaseException:
    """Return the error of Redis that kombu has wrapped in one of its own, as it does when a channel reconnects."""
    return error.__cause__ if isinstance(error, OperationalError) and error.__cause__ else error
