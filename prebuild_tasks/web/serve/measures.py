"""Metrics of the HTTP API, right with several processes: each adds to its own files, and any answers for all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from prebuild_tasks.web.serve.ended import forget_gauges, reading

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The variable with the directory of the processes' files. prometheus_client reads it when it is imported."""
_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds. A claim that waits takes up to 55."""
CLAIMS = ("POST", "/v1/claims")
_UNAUTHENTICATED = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request that was answered."""

    route: str
    """The template of the route, never the path."""
    method: str
    status: int
    principal: str
    """The kind of principal: `token` or `local`; `none` for a request without a valid token."""
    seconds: float
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    """Those of the answer, their names in lower case."""


def claim_outcome(answered: Answered) -> str:
    """Return what became of a claim, by its answer."""
    limited = any(name.startswith(b"ratelimit") for name in answered.headers)
    match answered.status:
        case 201:
            return "replayed" if b"idempotent-replayed" in answered.headers else "given"
        case 202:
            return "being_built"
        case 429:
            return "rate_limited" if limited else "miss"
        case 410:
            return "ended"
        case status if status >= 500:
            return "error"
        case _:
            return "refused"


class Measures:
    """The metrics of a serving process."""

    def __init__(self) -> None:
        """Make the metrics. Where several processes serve, `shared_files` is around all of them."""
        self._own = CollectorRegistry()
        self._requests = Counter(
            "prebuild_http_requests",
            "Requests by route template, method, status and kind of principal",
            ("route", "method", "status", "principal"),
            registry=self._own,
        )
        self._seconds = Histogram(
            "prebuild_http_request_duration_seconds",
            "Duration of requests until their answer was sent, by route template",
            ("route",),
            registry=self._own,
            buckets=_BUCKETS,
        )
        self._claims = Counter("prebuild_http_claims", "Claims over HTTP, by outcome", ("outcome",), registry=self._own)
        self._refused = Counter(
            "prebuild_http_refused_tokens",
            "Requests that were refused for their token: missing, or invalid",
            ("reason",),
            registry=self._own,
        )
        self._used = self._gauge("prebuild_http_connections_in_use", "Connections to the database that requests use")
        self._waited = self._gauge("prebuild_http_connections_waiting", "Requests that wait for such a connection")
        self._streams = self._gauge("prebuild_http_streams", "Streams that are open, of events and of pages")
        self._of = cache(self._labelled)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self._own, multiprocess_mode="livesum")

    def add(self, answered: Answered) -> None:
        """Count an answer."""
        number, seconds = self._of(answered.route, answered.method, answered.status, answered.principal)
        number.inc()
        seconds.observe(answered.seconds)
        if (answered.method, answered.route) == CLAIMS:
            self._claims.labels(claim_outcome(answered)).inc()
        if answered.status == _UNAUTHENTICATED:
            reason = "invalid" if b"invalid_token" in answered.headers.get(b"www-authenticate", b"") else "missing"
            self._refused.labels(reason).inc()

    def _labelled(self, route: str, method: str, status: int, principal: str) -> tuple[Counter, Histogram]:
        return self._requests.labels(route, method, str(status), principal), self._seconds.labels(route)

    def set_open(self, *, connections: int, waiting: int, streams: int) -> None:
        """Set how many connections this process uses, how many requests wait for one, and how many streams it has."""
        self._used.set(connections)
        self._waited.set(waiting)
        self._streams.set(streams)

    def render(self) -> str:
        """Return the metrics of all processes in the text format of Prometheus."""
        if not (directory := os.environ.get(DIRECTORY)):
            return generate_latest(self._own).decode()
        forget_gauges(Path(directory))
        answering = CollectorRegistry()
        MultiProcessCollector(answering)  # type: ignore[no-untyped-call]
        with reading(Path(directory)):
            return generate_latest(answering).decode()


@contextmanager
def shared_files() -> Iterator[Path]:
    """Let the processes that are started meanwhile add up their metrics, in files of a directory, which is yielded."""
    with tempfile.TemporaryDirectory(prefix="prebuild-serve-") as directory:
        os.environ[DIRECTORY] = directory
        try:
            yield Path(directory)
        finally:
            del os.environ[DIRECTORY]
