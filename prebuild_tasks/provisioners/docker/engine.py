"""Requests to the container engine, with readable errors and with interruption by a canceled build.

Every operation has its own connection, because builds run in threads and a connection is not thread-safe.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from math import inf
from queue import Empty, SimpleQueue
from time import sleep
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from urllib.parse import urlsplit
from weakref import WeakSet

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import BuildStoppedError, CannotAskError, ProvisionerError
from prebuild_tasks.provisioners.port import BuildContext

if TYPE_CHECKING:
    from docker import APIClient
    from requests import Response

TIMEOUT = 60.0
"""Seconds the engine may take for one response."""
_STOP_TIMEOUT = 5.0
"""Seconds that the request of a stopped build gets to end, so that its result can be removed."""
_POLL_INTERVAL = 0.2
_GATEWAY = (502, 503, 504)
"""HTTP statuses of proxies. No engine answers them of its own about containers, images and volumes."""
T = TypeVar("T")
EngineObject: TypeAlias = Mapping[str, Any]
"""A JSON object of the engine's API, for which the package docker has no types."""


def is_local(host: str) -> bool:
    """Return whether this DOCKER_HOST is on this machine: a socket, a pipe or a loopback address."""
    parts = urlsplit(host)
    if not host or not parts.scheme or parts.scheme in ("unix", "npipe", "fd"):
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


@contextmanager
def connect(timeout: float = TIMEOUT) -> Iterator[APIClient]:
    """Open a docker.APIClient by DOCKER_HOST and its related variables; errors become ProvisionerError."""
    try:
        import docker
        from docker.utils import kwargs_from_env
    except ImportError as error:
        hint = "install 'prebuild-tasks[docker]' where builds run"
        raise ProvisionerError(f"the docker provisioner needs the Python package docker: {error}", hint=hint) from error
    with engine_errors():
        api = docker.APIClient(**kwargs_from_env(), version="auto", timeout=timeout)
        answers: WeakSet[Response] = WeakSet()
        api.hooks["response"].append(lambda response, **_: answers.add(response))
        with api:
            try:
                yield api
            finally:
                _close_responses(answers)


def _close_responses(answers: Iterable[Response]) -> None:
    """Close responses that are still open, such as an abandoned pull's, which the package leaves open."""
    for answer in list(answers):
        with suppress(Exception):  # urllib3 before 2.3 has no shutdown, and the connection may be closed
            answer.raw.shutdown()
        with suppress(Exception):
            answer.close()


@contextmanager
def engine_errors() -> Iterator[None]:
    """Raise ProvisionerError for errors of the engine, and CannotAskError for those of the connection to it."""
    import requests
    import urllib3
    from docker.errors import APIError, DockerException

    try:
        yield
    except APIError as error:
        if not is_of_proxy(error):
            raise ProvisionerError(message_of(error)) from error
        raise CannotAskError(
            f"the proxy before the container engine cannot reach it: {message_of(error)}", hint="start the engine"
        ) from error
    except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        where = os.environ.get("DOCKER_HOST") or "its default socket"
        raise CannotAskError(
            f"the container engine at {where} does not answer: {_innermost(error)}",
            hint="start it, or set DOCKER_HOST to its address",
        ) from error


def message_of(error: Exception) -> str:
    """Return the engine's message on one line."""
    return " ".join(str(getattr(error, "explanation", None) or error).split())


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error of the engine; 0 when it has none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def is_of_proxy(error: Exception) -> bool:
    """Return whether the answer is that of a proxy before the engine, which does not reach it."""
    return status_of(error) in _GATEWAY


def _innermost(error: BaseException) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return getattr(error, "strerror", None) or re.sub(r"\s+", " ", str(error)) or type(error).__name__


@contextmanager
def unless_gone() -> Iterator[None]:
    """Leave the block when the engine answers that a resource does not exist."""
    from docker.errors import NotFound

    with suppress(NotFound):
        yield


class Stream(Generic[T]):
    """A streamed response, read in a thread of its own so that the build's thread can check for cancellation.

    Reading a response of bytes ends once more than `limit` bytes were read.
    """

    def __init__(self, open_source: Callable[[], Iterable[T]], *, limit: float = inf) -> None:
        self._limit = limit
        self._queue: SimpleQueue[T] = SimpleQueue()
        self._ended = threading.Event()
        self._closed = False
        self._error: Exception | None = None
        self._source: Iterable[T] = ()
        threading.Thread(target=self._read, args=(open_source,), name="engine-stream", daemon=True).start()

    def take(self) -> list[T]:
        """Return what was received since the last call, or else raise the error that ended the stream."""
        ended, received = self._ended.is_set(), list[T]()
        with suppress(Empty):
            while True:
                received.append(self._queue.get_nowait())
        if ended and not received and self._error is not None:
            error, self._error = self._error, None
            raise error
        return received

    def wait(self, seconds: float) -> bool:
        """Wait at most this many seconds for the end of the stream. Returns whether it has ended."""
        return self._ended.wait(seconds)

    def close(self) -> None:
        """Stop reading."""
        self._closed = True
        with suppress(Exception):  # a generator that is being read cannot be closed; its connection will be
            getattr(self._source, "close", lambda: None)()
            self._ended.wait(1)

    def _read(self, open_source: Callable[[], Iterable[T]]) -> None:
        size = 0
        try:
            self._source = open_source()
            for chunk in () if self._closed else self._source:
                self._queue.put(chunk)
                size += len(chunk) if isinstance(chunk, bytes) else 0
                if self._closed or size > self._limit:
                    break
        except Exception as error:  # noqa: BLE001 - `take` raises it in the build's thread
            self._error = error
        finally:
            # The package leaves the socket of a stream to the garbage collector.
            if (response := getattr(self._source, "_response", None)) is not None:
                response.close()
            self._ended.set()


def interruptibly(call: Callable[[], T], context: BuildContext) -> T:
    """Return the call's result, and check for cancellation while it runs.

    When the build is stopped, the call gets a few seconds to end before BuildStoppedError is raised.
    """
    stream = Stream(lambda: [call()])
    try:
        while not stream.wait(_POLL_INTERVAL):
            context.check()
    except BuildStoppedError:
        stream.wait(_STOP_TIMEOUT)
        raise
    return stream.take()[0]


def kill(api: APIClient, container_id: str) -> None:
    """Kill everything in the container. Succeed when it does not run or does not exist."""
    from docker.errors import APIError

    with suppress(APIError):  # engines differ in how they report one that is not running, removed or restarting
        api.kill(container_id)
    deadline = monotonic() + _STOP_TIMEOUT
    with unless_gone():
        while api.inspect_container(container_id)["State"].get("Running") and monotonic() < deadline:
            sleep(0.05)


def remove(api: APIClient, container_id: str, context: BuildContext) -> None:
    """Kill and remove a container with its anonymous volumes. Succeed when it does not exist or others remove it."""
    from docker.errors import APIError

    deadline = monotonic() + TIMEOUT
    while True:
        kill(api, container_id)
        try:
            with unless_gone():
                interruptibly(lambda: api.remove_container(container_id, v=True, force=True), context)
            return
        except APIError:  # another process removes it at this moment, or the engine is busy with it
            if monotonic() > deadline:
                raise
            context.wait(_POLL_INTERVAL)


def containers(api: APIClient, labels: Mapping[str, str]) -> list[EngineObject]:
    """Return all containers with these labels, stopped ones included. An empty value matches every value."""
    from docker.errors import APIError

    filters = {"label": [f"{name}={value}" if value else name for name, value in labels.items()]}
    for tries_left in (2, 1, 0):
        try:
            return list(api.containers(all=True, filters=filters))
        except APIError:  # Podman's list fails when a container is removed meanwhile
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def volumes(api: APIClient, labels: Mapping[str, str]) -> list[EngineObject]:
    """Return all volumes with these labels."""
    filters = {"label": [f"{name}={value}" for name, value in labels.items()]}
    return list(api.volumes(filters=filters).get("Volumes") or [])


def proxies(api: APIClient) -> dict[str, str]:
    """Return the proxy variables that the client's own configuration adds to every container."""
    added: dict[str, str] = api._proxy_configs.get_environment()  # noqa: SLF001 - the client has no public access to it
    return added
