"""The Prometheus exporter: metrics of the whole installation, read from the database on scrape.

A reading is shared by all scrapes of the next seconds, at most one is in progress, and no scrape waits long for it. If
the database does not answer, `prebuild_up` is 0 and no old values are shown.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar
from weakref import WeakSet

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, PrebuildError
from prebuild_tasks.insight.metrics.families import Families, add_numbers
from prebuild_tasks.insight.metrics.read import Numbers, read_numbers
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging import BUILDS, CLAIMS, DEFAULT, EVENTS, RECONCILE, connect
from prebuild_tasks.model.addresses import host_in_url
from prebuild_tasks.remedies import Remedy, RemedyKind

log = get_logger(__name__)

PATIENCE = 8.0
"""Seconds that a scrape waits for a reading; Prometheus gives up after 10."""
GIVE_UP = 30.0
"""Seconds after which the connections of a reading are cut, so that the next one starts with new ones."""
_REDIS_TIMEOUT = 1.0
"""Seconds."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of one reading."""

    numbers: Numbers | None
    """None: the database did not answer."""
    queues: dict[str, int] | None
    """Messages by queue; None: Redis did not answer."""
    seconds: float
    """How long reading the database took."""


class CachedReading(Generic[T]):
    """The result of `read`, cached for `keep` seconds.

    At most one call of `read` is in progress, and no caller waits for it longer than `patience` seconds.
    """

    def __init__(self, read: Callable[[], T], keep: float, patience: float = PATIENCE) -> None:
        self._read, self._keep, self._patience = read, keep, patience
        self._changed = threading.Condition()
        self._value: T | None = None
        self._until = -1.0
        """While `read` is in progress, the end of waiting for it; otherwise, the end of the value's validity."""
        self._reading = False

    def get(self) -> T | None:
        """Return the result; None when `read` fails or does not return in time."""
        with self._changed:
            if not self._reading and monotonic() >= self._until:
                self._reading, self._until = True, monotonic() + self._patience
                # A daemon thread, so that a hanging `read` blocks neither a scrape nor the exit of the process.
                threading.Thread(target=self._run, name="reading", daemon=True).start()
            if not self._reading:
                return self._value
            # Later callers wait only for the rest of the time: a hanging `read` does not delay every scrape anew.
            left = max(self._until - monotonic(), 0.0)
            return self._value if self._changed.wait_for(lambda: not self._reading, left) else None

    def _run(self) -> None:
        value: T | None = None
        try:
            value = self._read()
        except Exception:
            log.exception("reading_failed")
        with self._changed:
            self._value, self._until, self._reading = value, monotonic() + self._keep, False
            self._changed.notify_all()


class _Connection(Protocol):
    """The part of a driver's connection that is used."""

    closed: bool

    def fileno(self) -> int: ...


class OpenConnections:
    """The connections of an engine, so that another thread than the waiting one can cut them.

    A frozen server still acknowledges packets, so a keepalive does not end the wait for its answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._open: WeakSet[_Connection] = WeakSet()
        if engine.dialect.name == "postgresql":
            # Before all other listeners: what they send over a new connection may have to be cut as well.
            event.listen(engine, "connect", lambda connection, _record: self._open.add(connection), insert=True)

    def cut(self) -> None:
        """Shut all connections down: a thread that waits on one gets an error at once."""
        for connection in [connection for connection in self._open if not connection.closed]:
            # A duplicate of the descriptor, because the original is closed by its owner.
            with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as copy:
                copy.shutdown(socket.SHUT_RDWR)


class Exporter(Collector):
    """The collector that the Prometheus client library calls on each scrape."""

    def __init__(self, settings: Settings, version: str, patience: float = PATIENCE, give_up: float = GIVE_UP) -> None:
        self._settings, self._version = settings, version
        self.database = Database.of(settings)
        self._connections, self._give_up = OpenConnections(self.database.engine), give_up
        self._redis = connect(settings.resolved_redis_url, connect_timeout=_REDIS_TIMEOUT, timeout=_REDIS_TIMEOUT)
        self._cached = CachedReading(self.read, settings.exporter_cache, patience)
        self._last: datetime | None = None
        self._down = False

    def collect(self) -> Iterator[Metric]:
        """Return every metric; called once per scrape."""
        return iter(self.families(self.reading()))

    def reading(self) -> Reading | None:
        """Return a reading that is at most `exporter_cache` seconds old; None: it did not end in time."""
        return self._cached.get()

    def read(self) -> Reading:
        """Read the database and Redis now; what does not answer is None in the result.

        A database that stays unreachable is logged once, not with every scrape.
        """
        started = monotonic()
        watch = threading.Timer(self._give_up, self._connections.cut)
        watch.daemon = True
        watch.start()
        try:
            reading = self.read_or_raise()
        except (PrebuildError, SQLAlchemyError) as error:
            if not self._down:
                log.warning("database_not_read", error=str(error))
            reading = Reading(None, self._lengths(None), monotonic() - started)
        finally:
            watch.cancel()
        self._down = reading.numbers is None
        return reading

    def read_or_raise(self) -> Reading:
        """Read the database and Redis now. Raises what the database raises, for a command that shows the error."""
        started = monotonic()
        numbers = read_numbers(self.database, self._settings)
        self._last, seconds = numbers.now, monotonic() - started
        return Reading(numbers, self._lengths(numbers), seconds)

    def families(self, reading: Reading | None) -> list[Metric]:
        """Return a reading as metrics; None stands for a reading that did not end in time."""
        families = Families()
        families.add("prebuild_up", (), reading is not None and reading.numbers is not None)
        families.add("prebuild_info", (self._version,), 1)
        families.add("prebuild_metrics_last_updated", (), self._last.timestamp() if self._last else 0)
        if reading is None:
            return families.all()
        families.add("prebuild_read_duration_seconds", (), reading.seconds)
        families.add("prebuild_redis_up", (), reading.queues is not None)
        for queue, length in (reading.queues or {}).items():
            families.add("prebuild_queue_length", (queue,), length)
        if reading.numbers:
            add_numbers(families, reading.numbers)
        return families.all()

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._redis.close()
        self.database.close()

    def _lengths(self, numbers: Numbers | None) -> dict[str, int] | None:
        """Return the messages by queue, in one round trip; None when Redis does not answer."""
        queues = self._queues(numbers)
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for queue in queues:
                    pipeline.llen(queue)
                return dict(zip(queues, pipeline.execute(), strict=True))
        except (RedisError, OSError):
            return None

    def _queues(self, numbers: Numbers | None) -> list[str]:
        """Return the standard queues, those that a process consumes, and those that builds wait in."""
        queues = [self._settings.queue(name) for name in (EVENTS, RECONCILE, CLAIMS, DEFAULT, BUILDS)]
        if numbers:
            served = {queue for process in numbers.liveness.processes for queue in process.queues}
            queues += sorted((served | set(numbers.pending_age)) - set(queues))
        return queues


def serve(exporter: Exporter, bind: str, port: int) -> int:
    """Serve the metrics over HTTP in the background, and return the port.

    Port 0 stands for any free port. Raises InputError when the address cannot be used.
    """
    try:
        server, _ = start_http_server(port, bind, _registry(exporter))
    except OSError as error:
        raise InputError(
            f"the exporter cannot listen on {host_in_url(bind)}:{port}: {error.strerror or error}",
            hint="choose another port or address",
            remedy=Remedy(RemedyKind.MOVE_EXPORTER),
        ) from None
    return int(server.server_port)


def render(families: Sequence[Metric]) -> str:
    """Return metrics in the text format of Prometheus."""
    return generate_latest(_registry(_FixedMetrics(families))).decode()


class _FixedMetrics(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def _registry(collector: Collector) -> CollectorRegistry:
    """Return a registry with this collector alone, without metrics of the exporter's own process."""
    single = CollectorRegistry()
    single.register(collector)
    return single
