"""The readiness of a workspace that was just started."""

from __future__ import annotations

from prebuild_tasks.builds.lease import RunningBuild
from prebuild_tasks.builds.types import Outcome
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.model.vocabulary import NEVER_READY_CODE, BuildStatus
from prebuild_tasks.provisioners import Probe, Provisioner, Resource, WorkspaceSpec

_PAUSE = 0.5
"""Seconds between two probes."""


def wait_for_readiness(
    provisioner: Provisioner, spec: WorkspaceSpec, resource: Resource, running: RunningBuild
) -> Outcome:
    """Probe a started workspace until it is ready; fail the start if it is not within its `ready_timeout`.

    Raises CannotAskError if the provisioner still cannot be asked by then.
    """
    deadline = monotonic() + spec.ready_timeout
    while not (probe := _probe(provisioner, spec, deadline)).ready:
        if monotonic() > deadline:
            message = f"not ready within {spec.ready_timeout:g} s: {running.masked(probe.message)}"
            running.log(f"{message}\n")
            return Outcome(BuildStatus.FAILED, message, NEVER_READY_CODE)
        running.wait(_PAUSE)
    return Outcome(BuildStatus.SUCCEEDED, resource=resource)


def _probe(provisioner: Provisioner, spec: WorkspaceSpec, deadline: float) -> Probe:
    """Probe a workspace. Until the deadline, a provisioner that cannot be asked is asked again."""
    try:
        return provisioner.probe(spec)
    except CannotAskError as error:
        if monotonic() > deadline:
            raise
        return Probe(ready=False, message=error.message, unknown=True)
