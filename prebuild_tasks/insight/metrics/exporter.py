"""Prometheus metrics of the whole installation, read from the database when they are scraped.

One reading serves every scrape of the next seconds, there is never a second one beside it, and no scrape waits long
for it: a database that does not answer makes `prebuild_up` 0, with no old values beside it.
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

import structlog
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, PrebuildError
from prebuild_tasks.insight.metrics.families import Families, add_numbers
from prebuild_tasks.insight.metrics.read import Numbers, read_numbers
from prebuild_tasks.messaging import BUILDS, CLAIMS, DEFAULT, EVENTS, RECONCILE, connect
from prebuild_tasks.remedies import Remedy, RemedyKind

log = structlog.get_logger(__name__)

PATIENCE = 8.0
"""Seconds a scrape waits for the reading; Prometheus gives up after 10."""
GIVE_UP = 30.0
"""Seconds after which a reading's connections are cut, so that the next one begins with fresh ones."""
_REDIS_TIMEOUT = 1.0
_KEEPALIVE = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3", "tcp_user_timeout": "8000"}
"""For PostgreSQL's client: a server that vanished is given up after some 10 seconds, not after two hours."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reading found. `numbers` is None when the database, `queues` when Redis gave no answer."""

    numbers: Numbers | None
    queues: dict[str, int] | None
    seconds: float


class Shared(Generic[T]):
    """The result of `read`, kept for `keep` seconds. At most one is under way, and nobody waits beyond `patience`."""

    def __init__(self, read: Callable[[], T], keep: float, patience: float = PATIENCE) -> None:
        self._read, self._keep, self._patience = read, keep, patience
        self._changed = threading.Condition()
        self._value: T | None = None
        self._until = -1.0
        """While one is under way: until when it is waited for; else: until when the value stands."""
        self._reading = False

    def get(self) -> T | None:
        """The result; None when it does not come in time, or could not be had."""
        with self._changed:
            if not self._reading and monotonic() >= self._until:
                self._reading, self._until = True, monotonic() + self._patience
                # A daemon: one that hangs keeps neither a scrape nor the process.
                threading.Thread(target=self._run, name="reading", daemon=True).start()
            if not self._reading:
                return self._value
            # Whoever comes late waits for what is left: a reading that hangs does not hold up every scrape anew.
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
    """What is used of a driver's connection."""

    closed: bool

    def fileno(self) -> int: ...


class Lines:
    """An engine's connections, to be cut from another thread than the one that waits for an answer.

    A server that is frozen still acknowledges what it gets, so no keepalive ends the waiting for it.
    """

    def __init__(self, engine: Engine) -> None:
        self._open: WeakSet[_Connection] = WeakSet()
        if engine.dialect.name == "postgresql":
            # First of all who hear of it: what is then said to a new connection may be waited for, too.
            event.listen(engine, "connect", lambda connection, _record: self._open.add(connection), insert=True)

    def cut(self) -> None:
        """Whoever waits on one of them gets an error at once."""
        for connection in [connection for connection in self._open if not connection.closed]:
            # A copy of the descriptor: closing it is no business of ours.
            with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as copy:
                copy.shutdown(socket.SHUT_RDWR)


class Exporter(Collector):
    """The collector that Prometheus' client library asks at each scrape."""

    def __init__(self, settings: Settings, version: str, patience: float = PATIENCE, give_up: float = GIVE_UP) -> None:
        self._settings, self._version = settings, version
        self._database = Database(_patient(settings.resolved_database_url))
        self._lines, self._give_up = Lines(self._database.engine), give_up
        self._redis = connect(settings.resolved_redis_url, connect_timeout=_REDIS_TIMEOUT, timeout=_REDIS_TIMEOUT)
        self._shared = Shared(self.read, settings.exporter_cache, patience)
        self._last: datetime | None = None
        self._down = False

    def collect(self) -> Iterator[Metric]:
        """Every metric; called once per scrape."""
        return iter(self.families(self._shared.get()))

    def read(self) -> Reading:
        """Ask the database and Redis now; what does not answer is None. Said once, not with every scrape."""
        started = monotonic()
        watch = threading.Timer(self._give_up, self._lines.cut)
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
        """The same for a command, which says what is wrong. Raises what the database raises."""
        started = monotonic()
        numbers = read_numbers(self._database, self._settings)
        self._last, seconds = numbers.now, monotonic() - started
        return Reading(numbers, self._lengths(numbers), seconds)

    def families(self, reading: Reading | None) -> list[Metric]:
        """The reading as metrics; None: there is none, as nothing answered in time."""
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
        """Close every connection that is not in use."""
        self._redis.close()
        self._database.close()

    def _lengths(self, numbers: Numbers | None) -> dict[str, int] | None:
        """Messages by queue, in one round trip."""
        queues = self._queues(numbers)
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for queue in queues:
                    pipeline.llen(queue)
                return dict(zip(queues, pipeline.execute(), strict=True))
        except (RedisError, OSError):
            return None

    def _queues(self, numbers: Numbers | None) -> list[str]:
        """Those that always are, and those of the hosts that are heard of, or that something waits for."""
        queues = [self._settings.queue(name) for name in (EVENTS, RECONCILE, CLAIMS, DEFAULT, BUILDS)]
        if numbers:
            served = {queue for process in numbers.liveness.processes for queue in process.queues}
            queues += sorted((served | set(numbers.pending_age)) - set(queues))
        return queues


def serve(exporter: Exporter, bind: str, port: int) -> int:
    """Serve in the background; returns the port, chosen when `port` is 0. Raises InputError when it can't be had."""
    try:
        server, _ = start_http_server(port, bind, _registry(exporter))
    except OSError as error:
        raise InputError(
            f"the exporter can't listen on {bind}:{port}: {error.strerror or error}",
            hint="name another",
            remedy=Remedy(RemedyKind.MOVE_EXPORTER),
        ) from None
    return int(server.server_port)


def rendered(families: Sequence[Metric]) -> str:
    """What a scrape gets, as text."""
    return generate_latest(_registry(_Fixed(families))).decode()


class _Fixed(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def _registry(collector: Collector) -> CollectorRegistry:
    """With this collector alone: nothing of the exporter's own process."""
    found = CollectorRegistry()
    found.register(collector)
    return found


def _patient(url: str) -> str:
    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        return url
    added = {name: value for name, value in _KEEPALIVE.items() if name not in parsed.query}
    return parsed.update_query_dict(added).render_as_string(hide_password=False)
