"""A connection to the container engine, which answers in sentences and is never waited for blindly.

One connection per operation: builds run in threads, and a connection is for one of them.
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
from typing import Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakSet

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import BuildStoppedError, ProvisionerError
from prebuild_tasks.provisioners.port import BuildContext

TIMEOUT = 60.0
"""Seconds the engine may take for one answer."""
_PATIENCE = 5.0
"""Seconds for a call to end when its build was stopped, so that what it made can be ended, too."""
_LOOK = 0.2
T = TypeVar("T")


def is_local(host: str) -> bool:
    """Whether this DOCKER_HOST leads to this very machine: a socket, a pipe, or a loopback address."""
    parts = urlsplit(host)
    if not host or not parts.scheme or parts.scheme in ("unix", "npipe", "fd"):
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


@contextmanager
def connect(timeout: float = TIMEOUT) -> Iterator[Any]:
    """A docker.APIClient by DOCKER_HOST and its like. Inside, every error of the engine is a ProvisionerError."""
    try:
        import docker
        from docker.utils import kwargs_from_env
    except ImportError as error:
        hint = "pip install 'prebuild-tasks[docker]' where builds run"
        raise ProvisionerError(f"the docker provisioner needs the package docker: {error}", hint=hint) from error
    with in_words():
        api = docker.APIClient(**kwargs_from_env(), version="auto", timeout=timeout)
        answers: WeakSet[Any] = WeakSet()
        api.hooks["response"].append(lambda response, **_: answers.add(response))
        with api:
            try:
                yield api
            finally:
                _hang_up(answers)


def _hang_up(answers: Iterable[Any]) -> None:
    """Close what is still open, as the answer to a pull that nobody waits for; the package would leave it open."""
    for answer in list(answers):
        with suppress(Exception):  # urllib3 before 2.3 has no such thing, and a connection may be gone
            answer.raw.shutdown()
        with suppress(Exception):
            answer.close()


@contextmanager
def in_words() -> Iterator[None]:
    """Turn what the engine, or the way to it, has to say into ProvisionerError."""
    import requests
    import urllib3
    from docker.errors import APIError, DockerException

    try:
        yield
    except APIError as error:
        raise ProvisionerError(words(error)) from error
    except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        where = os.environ.get("DOCKER_HOST") or "its usual socket"
        raise ProvisionerError(
            f"the container engine at {where} does not answer: {_innermost(error)}",
            hint="start it, or say where it is with DOCKER_HOST",
        ) from error


def words(error: Exception) -> str:
    """What the engine said, on one line."""
    return " ".join(str(getattr(error, "explanation", None) or error).split())


def status(error: Exception) -> int:
    """The HTTP status of an error of the engine; 0 when it has none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def _innermost(error: BaseException) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return getattr(error, "strerror", None) or re.sub(r"\s+", " ", str(error)) or type(error).__name__


@contextmanager
def unless_gone() -> Iterator[None]:
    """Do without the rest of the block when the engine knows no such thing any more."""
    from docker.errors import NotFound

    with suppress(NotFound):
        yield


class Stream:
    """What the engine sends bit by bit, read in a thread of its own, so that the build's thread can look around.

    `limit`: of what is bytes, no more is read once it is more than this many.
    """

    def __init__(self, open_source: Callable[[], Iterable[Any]], *, limit: float = inf) -> None:
        self._limit = limit
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._ended = threading.Event()
        self._closed = False
        self._error: Exception | None = None
        self._source: Iterable[Any] = ()
        threading.Thread(target=self._read, args=(open_source,), name="engine-stream", daemon=True).start()

    def take(self) -> list[Any]:
        """What came since the last call; raises what ended the stream, once all before it was taken."""
        ended, found = self._ended.is_set(), []
        with suppress(Empty):
            while True:
                found.append(self._queue.get_nowait())
        if ended and not found and self._error is not None:
            error, self._error = self._error, None
            raise error
        return found

    def wait(self, seconds: float) -> bool:
        """Until it ends, or for this long; whether it has ended."""
        return self._ended.wait(seconds)

    def close(self) -> None:
        """Read no further."""
        self._closed = True
        with suppress(Exception):  # a generator that is being read can't be closed; the connection will be
            getattr(self._source, "close", lambda: None)()
            self._ended.wait(1)

    def _read(self, open_source: Callable[[], Iterable[Any]]) -> None:
        size = 0
        try:
            self._source = open_source()
            for chunk in () if self._closed else self._source:
                self._queue.put(chunk)
                size += 0 if self._limit == inf else len(chunk)
                if self._closed or size > self._limit:
                    break
        except Exception as error:  # noqa: BLE001 - `take` raises it in the build's thread
            self._error = error
        finally:
            # The package's own streams leave their socket to the garbage collector.
            if (response := getattr(self._source, "_response", None)) is not None:
                response.close()
            self._ended.set()


def patiently(call: Callable[[], T], context: BuildContext) -> T:
    """The call's answer, looking at the build meanwhile.

    When the build is stopped the call may still come to its end, for a while, before BuildStoppedError is passed on.
    """
    stream = Stream(lambda: [call()])
    try:
        while not stream.wait(_LOOK):
            context.check()
    except BuildStoppedError:
        stream.wait(_PATIENCE)
        raise
    answer: T = stream.take()[0]
    return answer


def kill(api: Any, container_id: str) -> None:
    """End everything in the container, now. One that does not run, or is gone, is left as it is."""
    from docker.errors import APIError

    with suppress(APIError):  # not running, gone, and restarted meanwhile have different words in every engine
        api.kill(container_id)
    deadline = monotonic() + _PATIENCE
    with unless_gone():
        while api.inspect_container(container_id)["State"].get("Running") and monotonic() < deadline:
            sleep(0.05)


def remove(api: Any, container_id: str, context: BuildContext) -> None:
    """End and remove a container with its anonymous volumes. Gone already, or being removed by others, is success."""
    from docker.errors import APIError

    deadline = monotonic() + TIMEOUT
    while True:
        kill(api, container_id)
        try:
            with unless_gone():
                patiently(lambda: api.remove_container(container_id, v=True, force=True), context)
            return
        except APIError:  # somebody else removes it at this moment, or the engine is busy with it
            if monotonic() > deadline:
                raise
            context.wait(_LOOK)


def containers(api: Any, labels: Mapping[str, str]) -> list[Any]:
    """The engine's list by labels, stopped ones included; an empty value asks for the label alone."""
    from docker.errors import APIError

    filters = {"label": [f"{name}={value}" if value else name for name, value in labels.items()]}
    for tries_left in (2, 1, 0):
        try:
            return list(api.containers(all=True, filters=filters))
        except APIError:  # Podman stumbles over what is removed while it lists
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def volumes(api: Any, labels: Mapping[str, str]) -> list[Any]:
    """The engine's volumes by labels."""
    filters = {"label": [f"{name}={value}" for name, value in labels.items()]}
    return list(api.volumes(filters=filters).get("Volumes") or [])
