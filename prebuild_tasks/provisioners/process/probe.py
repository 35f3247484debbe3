"""Probe a workspace: whether what it serves still runs, and whether `ready` succeeds or its port answers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.provisioners.port import Probe
from prebuild_tasks.provisioners.process.config import ProcessConfig
from prebuild_tasks.provisioners.process.directory import WorkspaceDirectory
from prebuild_tasks.provisioners.process.environment import Environment
from prebuild_tasks.provisioners.shared import processes
from prebuild_tasks.provisioners.shared.config import argv_of
from prebuild_tasks.provisioners.shared.disk import tail
from prebuild_tasks.provisioners.shared.output import summarized
from prebuild_tasks.provisioners.shared.probe_context import ProbeContext
from prebuild_tasks.provisioners.shared.run import NoAnswerError, NotStartedError, raise_failure, run

PROBE_TIMEOUT = 30.0
"""Seconds for the command `ready`."""
_SETTLED, _LOOKS = 1.0, 10
"""Seconds that what is served must run to count as ready, and looks at it in them: a `ready` that does not ask it may
pass before it has failed."""


class _ServedEndedError(Exception):
    """What the workspace serves has ended while `ready` ran."""


def probe_workspace(
    workspace: WorkspaceDirectory, config: ProcessConfig, environment: Environment, between: Callable[[], None]
) -> Probe:
    """Check that the served process is alive and that `ready` succeeds, or else that the port answers.

    A served process that ends while `ready` runs ends `ready`, too, which may wait for it. A `ready` that cannot be
    started, or is killed, decides nothing. One that takes too long fails: it hangs.
    """
    state = workspace.published()
    if state is None:
        return Probe(ready=False, message="the workspace's directory is gone", gone=True)

    def check() -> None:
        if state.serve and not processes.still_runs(state.pid, state.born):
            raise _ServedEndedError
        between()

    context = ProbeContext(check)
    try:
        context.check()
        if config.ready is None:
            return _probe_port(state.port, environment.probe_addresses)
        own = state.env
        code, output = run(
            config.limits.wrap(argv_of(config.ready)),
            cwd=Path(own["HOME"]),
            env=environment.whole(own),
            context=context,
            timeout=PROBE_TIMEOUT,
        )
        context.check()
        raise_failure("ready", code, output)
        for _ in range(_LOOKS if state.serve else 0):
            if processes.age(state.pid) >= _SETTLED:
                break
            context.wait(_SETTLED / _LOOKS)
    except _ServedEndedError:
        served = summarized(tail(workspace.serve_log))
        return Probe(ready=False, message=f"the served process ended: {served}", gone=True)
    except TimeoutError:
        return Probe(ready=False, message=f"ready did not end within {PROBE_TIMEOUT:g} s")
    except ProvisionerError as error:
        if context.ended_by(error):
            raise
        return Probe(ready=False, message=str(error), unknown=isinstance(error, (NotStartedError, NoAnswerError)))
    return Probe(ready=True)


def _probe_port(port: int, addresses: Sequence[str]) -> Probe:
    if not port:
        return Probe(ready=True)
    problem = ""
    for address in addresses:
        try:
            with socket.create_connection((address, port), timeout=2):
                return Probe(ready=True)
        except OSError as error:
            problem = problem or f"nothing answers on port {port}: {error.strerror or error}"
    return Probe(ready=False, message=problem)
