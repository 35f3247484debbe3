"""Probe a container, and wait until it is ready."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import TYPE_CHECKING

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import InterruptedStartError, NeverReadyError, ProvisionerError
from prebuild_tasks.provisioners.docker.config import DockerConfig
from prebuild_tasks.provisioners.docker.engine import EngineObject, Stream, is_of_proxy, message_of
from prebuild_tasks.provisioners.docker.exec import run_in_container
from prebuild_tasks.provisioners.port import BuildContext, Probe, ReadinessContext, ServedOutput, WorkspaceSpec
from prebuild_tasks.provisioners.shared.config import argv_of
from prebuild_tasks.provisioners.shared.output import summarized
from prebuild_tasks.provisioners.shared.probe_pauses import pause_between_probes

if TYPE_CHECKING:
    from docker import APIClient

PROBE_TIMEOUT = 15.0
"""Seconds for the command `ready` in the container."""
_SETTLED = 1.0
"""Seconds that a container without a probe must run to count as ready. Most failures happen at once."""
_PAUSE_MIN = 0.1
_KILLED = ("the container exited with 137:", "the container exited with 143:")
"""Ends by SIGKILL and SIGTERM."""
_RESTART_PATIENCE = 2.0
"""Seconds after which an engine that is being restarted does not answer any more, or answers again."""
_ATTEMPTS = 3
_LOOK_INTERVAL = 0.5
"""Seconds between two looks at a container whose `ready` runs more seldom: at its output, and whether it has ended."""
_ENDED = ("exited", "stopped", "dead")
"""The engine's words for a container that has run and ended; `stopped` is Podman's. It may say others for a moment."""
_LINES_SHOWN = 500
"""Lines of a container's output that people are shown."""
_POLL_INTERVAL = 0.3
"""Seconds between two reads of the output; ten times as many once it exceeds _OUTPUT_MUCH bytes."""
_OUTPUT_MUCH = 1 << 16
OUTPUT_MAX = 1 << 20
"""The most bytes of output that are copied to the build's log."""


def probe(
    api: APIClient, container_id: str, config: DockerConfig, *, between: Callable[[], None] | None = None
) -> tuple[Probe, bool]:
    """Return the result of the probe, and whether the container runs.

    One that has ended is gone, as a served process that ends is: no engine starts it again, for it has no restart
    policy. Raises the engine's NotFound when there is no such container.
    """
    from docker.errors import APIError, NotFound

    state = api.inspect_container(container_id)["State"]
    if not state.get("Running"):
        message = why_not_running(api, container_id, state)
        return Probe(ready=False, message=message, gone=state.get("Status") in _ENDED), False
    if config.ready is None:
        return _health(state), True
    try:
        argv, deadline = argv_of(config.ready), monotonic() + PROBE_TIMEOUT
        code, output = run_in_container(api, container_id, argv, environment={}, deadline=deadline, between=between)
    except TimeoutError:
        return Probe(ready=False, message=f"ready did not end within {PROBE_TIMEOUT:g} s"), True
    except NotFound:
        raise
    except APIError as error:
        if is_of_proxy(error):
            raise
        # The container ended at this moment, or the image has no such command.
        return Probe(ready=False, message=f"ready: {message_of(error)}"), True
    if code:
        return Probe(ready=False, message=f"ready exited with {code}: {summarized(output)}"), True
    return Probe(ready=True), True


def _health(state: EngineObject) -> Probe:
    """Return the result of the image's health check; a container without one is ready when it runs."""
    health = state.get("Health") or {}
    status = str(health.get("Status") or "none")
    if status in ("none", "healthy"):
        return Probe(ready=True)
    last = (health.get("Log") or [{}])[-1].get("Output") or ""
    return Probe(ready=False, message=f"the health check of the container is {status}: {summarized(last)}")


def why_not_running(api: APIClient, container_id: str, state: EngineObject) -> str:
    """Return a sentence that says why a container does not run."""
    if state.get("Status") in ("created", "configured", "initialized"):
        return "the container was never started"
    output = api.logs(container_id, tail=20).decode("utf-8", "replace")
    how = "ran out of memory" if state.get("OOMKilled") else f"exited with {state.get('ExitCode')}"
    return f"the container {how}: {summarized(str(state.get('Error') or '') or output)}"


def check_not_killed(api: APIClient, why: str, attempt: int, context: BuildContext) -> None:
    """Raise CannotAskError if a container was killed that nobody asked to end, as by an engine that is restarted.

    From the third attempt on it is taken for the container's own fault.

    Args:
        api: The engine; its errors are those of its connection.
        why: What `why_not_running` says.
        attempt: The number of the build's attempt.
        context: The build's context.
    """
    if attempt < _ATTEMPTS and why.startswith(_KILLED):
        context.wait(_RESTART_PATIENCE)
        api.ping()
        raise InterruptedStartError(f"{why} (nobody asked it to end, so it is started again)")


def until_ready(
    api: APIClient,
    container_id: str,
    spec: WorkspaceSpec,
    config: DockerConfig,
    context: BuildContext,
    *,
    copy_output: bool,
) -> None:
    """Wait until the container is ready. With `copy_output`, its output goes to the build's log until then.

    Without it, only the end of the output does, if the container ends.

    Raises ProvisionerError when the container ends, NeverReadyError when the time is over, and the engine's NotFound
    when the container no longer exists.
    """
    output = Output(api, container_id, context) if copy_output else None

    def between() -> None:
        if output is not None:
            output.copy()
        context.check()
        if isinstance(context, ReadinessContext):
            context.not_ready()

    began = monotonic()
    while True:
        between()
        result, runs = probe(api, container_id, config, between=between)
        waited = monotonic() - began
        is_ready = result.ready and (waited > _SETTLED or config.ready is not None)
        if output is not None and (is_ready or not runs):
            output.copy(now=True)
        if is_ready:
            return
        if not runs:
            if output is None and (text := last_output(api, container_id).text.rstrip()):
                context.log(f"output of the container:\n{text}\n")
            check_not_killed(api, result.message, spec.attempt, context)
            hint = "its command must keep running" if " exited with 0:" in result.message else ""
            raise ProvisionerError(result.message, hint=hint)
        if not result.ready:
            _report(result, spec, context, waited)
        _pause(api, container_id, pause_between_probes(waited, _PAUSE_MIN), context, between)


def _pause(
    api: APIClient, container_id: str, seconds: float, context: BuildContext, between: Callable[[], None]
) -> None:
    """Wait until the next probe, or until the container has ended."""
    until = monotonic() + seconds
    context.wait(min(seconds, _LOOK_INTERVAL))
    while (left := until - monotonic()) > 0 and api.inspect_container(container_id)["State"].get("Running"):
        between()
        context.wait(min(left, _LOOK_INTERVAL))


def _report(result: Probe, spec: WorkspaceSpec, context: BuildContext, waited: float) -> None:
    """Report that the container is not ready. Raises NeverReadyError when the time is over."""
    if isinstance(context, ReadinessContext):
        context.not_ready(result.message)
    elif waited > spec.ready_timeout:
        raise NeverReadyError(f"not ready within {spec.ready_timeout:g} s: {result.message}")


def last_output(api: APIClient, container_id: str) -> ServedOutput:
    """Return the last lines of a container's output. Raises the engine's NotFound when there is no such container."""
    details = api.inspect_container(container_id)
    env = details["Config"].get("Env") or []
    variables = dict(str(pair).split("=", 1) for pair in env if "=" in str(pair))
    text = api.logs(container_id, tail=_LINES_SHOWN).decode("utf-8", "replace")
    return ServedOutput(text, variables, running=details["State"]["Running"])


class Output:
    """Copies a container's output to the build's log.

    The whole output is requested each time: an engine may not respond to a request to follow before there is output,
    and every other way to continue from a position differs between engines.
    """

    def __init__(self, api: APIClient, container_id: str, context: BuildContext) -> None:
        self._api, self._id, self._context = api, container_id, context
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._passed = 0
        self._next = 0.0

    def copy(self, *, now: bool = False) -> None:
        """Log the new output, unless it was requested a moment ago."""
        from docker.errors import APIError

        if self._passed > OUTPUT_MAX or (monotonic() < self._next and not now):
            return
        try:
            output = self._all()
        except APIError:  # its log driver cannot be read, or it was removed, which the next probe finds
            output = b""
        if text := self._decode(output[self._passed :]):
            self._context.log(text)
            self._passed = len(output)
            if self._passed > OUTPUT_MAX:
                self._context.log("\n(output truncated; the container's own log has the rest)\n")
        self._next = monotonic() + (_POLL_INTERVAL if self._passed < _OUTPUT_MUCH else 10 * _POLL_INTERVAL)

    def _all(self) -> bytes:
        """Return all output up to a limit, because it may be more than the memory holds."""
        stream = Stream(lambda: self._api.logs(self._id, stream=True, follow=False), limit=OUTPUT_MAX)
        try:
            while not stream.wait(_POLL_INTERVAL):
                self._context.check()
            return b"".join(stream.take())
        finally:
            stream.close()
