"""Whether a container is ready, and waiting until it is."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from typing import Any

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.model.vocabulary import NEVER_READY_CODE
from prebuild_tasks.provisioners.docker.config import DockerConfig
from prebuild_tasks.provisioners.docker.engine import Stream, words
from prebuild_tasks.provisioners.docker.exec import run
from prebuild_tasks.provisioners.port import BuildContext, Probe, WorkspaceSpec
from prebuild_tasks.provisioners.shared.config import argv_of
from prebuild_tasks.provisioners.shared.output import last_words

PROBE_TIMEOUT = 15.0
"""Seconds for `ready` in the container."""
_SETTLED = 1.0
"""Seconds that a container without any probe must have been running: most that fail, fail at once."""
_PAUSE = (0.1, 0.5)
_LOOK = 0.3
"""Seconds between two looks at the output; ten times as many when it is much."""
_OUTPUT_MUCH = 1 << 16
_OUTPUT_MAX = 1 << 20


class NeverReadyError(ProvisionerError):
    """Started, but not ready in time."""

    code = NEVER_READY_CODE


def probe(
    api: Any, container_id: str, config: DockerConfig, *, between: Callable[[], None] | None = None
) -> tuple[Probe, bool]:
    """What the container says, and whether it runs. Raises the engine's NotFound when it is gone."""
    from docker.errors import APIError, NotFound

    state = api.inspect_container(container_id)["State"]
    if not state.get("Running"):
        return Probe(ready=False, message=how_it_ended(api, container_id, state)), False
    if config.ready is None:
        return _health(state), True
    try:
        argv, deadline = argv_of(config.ready), monotonic() + PROBE_TIMEOUT
        code, output = run(api, container_id, argv, environment={}, deadline=deadline, between=between)
    except TimeoutError:
        return Probe(ready=False, message=f"ready did not end within {PROBE_TIMEOUT:g} s"), True
    except NotFound:
        raise
    except APIError as error:  # it ended at this moment, or there is no such command in the image
        return Probe(ready=False, message=f"ready: {words(error)}"), True
    if code:
        return Probe(ready=False, message=f"ready exited with {code}: {last_words(output)}"), True
    return Probe(ready=True), True


def _health(state: Mapping[str, Any]) -> Probe:
    """The image's health check; one that has none is ready when it runs."""
    health = state.get("Health") or {}
    found = str(health.get("Status") or "none")
    if found in ("none", "healthy"):
        return Probe(ready=True)
    last = (health.get("Log") or [{}])[-1].get("Output") or ""
    return Probe(ready=False, message=f"its health check says {found}: {last_words(last)}")


def how_it_ended(api: Any, container_id: str, state: Mapping[str, Any]) -> str:
    """One sentence about a container that does not run."""
    if state.get("Status") in ("created", "configured", "initialized"):
        return "the container was never started"
    output = api.logs(container_id, tail=20).decode("utf-8", "replace")
    how = "ran out of memory" if state.get("OOMKilled") else f"exited with {state.get('ExitCode')}"
    return f"the container {how}: {last_words(str(state.get('Error') or '') or output)}"


def until_ready(
    api: Any, container_id: str, spec: WorkspaceSpec, config: DockerConfig, context: BuildContext, *, follow: bool
) -> None:
    """Return when it is ready; `follow` its output into the build's log until then.

    Raises ProvisionerError when it ends before, NeverReadyError, and the engine's NotFound when it is gone.
    """
    output = _Output(api, container_id, context) if follow else None

    def between() -> None:
        if output is not None:
            output.pass_on()
        context.check()

    began, pause = monotonic(), _PAUSE[0]
    while True:
        between()
        found, runs = probe(api, container_id, config, between=between)
        waited = monotonic() - began
        is_ready = found.ready and (waited > _SETTLED or config.ready is not None)
        if output is not None and (is_ready or not runs):
            output.pass_on(now=True)
        if is_ready:
            return
        if not runs:
            hint = "the command must keep running" if " exited with 0:" in found.message else ""
            raise ProvisionerError(found.message, hint=hint)
        if waited > spec.ready_timeout:
            raise NeverReadyError(f"not ready within {spec.ready_timeout:g} s: {found.message}")
        context.wait(pause)
        pause = min(pause * 1.5, _PAUSE[1])


class _Output:
    """What the container says, on its way into the build's log.

    Asked for again and again, and as a whole: an engine may not answer a request to follow before there is output, and
    no other way to go on where one left off is the same in all of them.
    """

    def __init__(self, api: Any, container_id: str, context: BuildContext) -> None:
        self._api, self._id, self._context = api, container_id, context
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._passed = 0
        self._next = 0.0

    def pass_on(self, *, now: bool = False) -> None:
        """What is new, unless it was looked for a moment ago."""
        from docker.errors import APIError

        if self._passed > _OUTPUT_MAX or (monotonic() < self._next and not now):
            return
        try:
            output = self._all()
        except APIError:  # its log driver can't be read, or it is gone, which the next look at it will say
            output = b""
        if text := self._decode(output[self._passed :]):
            self._context.log(text)
            self._passed = len(output)
            if self._passed > _OUTPUT_MAX:
                self._context.log("\n(there is more; the rest is in the container's own log)\n")
        self._next = monotonic() + (_LOOK if self._passed < _OUTPUT_MUCH else 10 * _LOOK)

    def _all(self) -> bytes:
        """All that it has said; of more than is passed on not much more, for it may be more than the memory holds."""
        stream = Stream(lambda: self._api.logs(self._id, stream=True, follow=False), limit=_OUTPUT_MAX)
        try:
            while not stream.wait(_LOOK):
                self._context.check()
            return b"".join(stream.take())
        finally:
            stream.close()
