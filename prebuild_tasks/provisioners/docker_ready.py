"""Whether a container is ready, and waiting until it is."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from typing import Any

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.ports import BuildContext, Probe, WorkspaceSpec
from prebuild_tasks.provisioners.docker_config import DockerConfig
from prebuild_tasks.provisioners.docker_engine import Stream, words
from prebuild_tasks.provisioners.docker_exec import last_words, run
from prebuild_tasks.provisioners.process_run import command

PROBE_TIMEOUT = 15.0
"""Seconds for `ready` in the container."""
_SETTLED = 1.0
"""Seconds that a container without any probe must have been running: most that fail, fail at once."""
_PAUSE = (0.1, 0.5)
_DRAIN = 2.0
"""Seconds for the last output after a container has ended."""


class NeverReadyError(ProvisionerError):
    """Started, but not ready in time."""

    code = "never_ready"


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
        argv, deadline = command(config.ready), monotonic() + PROBE_TIMEOUT
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
    try:
        while True:
            between()
            found, runs = probe(api, container_id, config, between=between)
            if not runs:
                if output is not None:
                    output.drain()
                hint = "the command must keep running" if " exited with 0:" in found.message else ""
                raise ProvisionerError(found.message, hint=hint)
            waited = monotonic() - began
            if found.ready and (waited > _SETTLED or config.ready is not None):
                between()
                return
            if waited > spec.ready_timeout:
                raise NeverReadyError(f"not ready within {spec.ready_timeout:g} s: {found.message}")
            context.wait(pause)
            pause = min(pause * 1.5, _PAUSE[1])
    finally:
        if output is not None:
            output.close()


class _Output:
    """What the container says, on its way into the build's log."""

    def __init__(self, api: Any, container_id: str, context: BuildContext) -> None:
        self._stream = Stream(lambda: api.logs(container_id, stream=True, follow=True))
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._context = context

    def pass_on(self) -> None:
        if text := "".join(self._decode(chunk) for chunk in self._stream.take()):
            self._context.log(text)

    def drain(self) -> None:
        """What is left, once nothing more is written."""
        deadline = monotonic() + _DRAIN
        while not self._stream.wait(0.1) and monotonic() < deadline:
            self._context.check()
        self.pass_on()

    def close(self) -> None:
        self._stream.close()
