"""The readiness of a workspace that was just started."""

from __future__ import annotations

from prebuild_tasks.builds.lease import RunningBuild
from prebuild_tasks.builds.types import Outcome
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import BuildStoppedError, CannotAskError, NeverReadyError, PrebuildError, ProvisionerError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.provisioners import (
    KeepsOutput,
    Probe,
    ProbesInterruptibly,
    Provisioner,
    Resource,
    RestsWithHost,
    WorkspaceSpec,
    pause_between_probes,
)

log = get_logger(__name__)

_PAUSE_MIN = 0.5
_PROBE_MIN = 2.0
"""Seconds that a probe is given even if less is left: the last one may be the first that finds the workspace ready."""
_PAUSE_GONE = 0.1
"""Seconds until a workspace that is said to be gone is probed once more."""
PAUSE_GONE_AFAR = 5.0
"""Seconds until that for a provisioner that is not local: an API may not know for a while what it has just made."""


def wait_for_readiness(
    provisioner: Provisioner, spec: WorkspaceSpec, resource: Resource, running: RunningBuild
) -> Outcome:
    """Probe a started workspace until it is ready.

    The start fails at once if the workspace can never become ready, because what it serves has ended, and otherwise
    when its `ready_timeout` is over. Two probes must find it gone, some seconds apart if the provisioner is not local:
    an API may not know at once what it has just made.

    Raises CannotAskError if the provisioner still cannot be asked when the time is over.
    """
    running.readiness.begin()
    was_gone, unasked = False, None
    while True:
        try:
            try:
                probe, unasked = _probe(provisioner, spec, running), None
            except CannotAskError as error:
                unasked, probe = error, Probe(ready=False, message=error.message, unknown=True)
            if probe.ready:
                return Outcome(BuildStatus.SUCCEEDED, resource=resource)
            if probe.gone and was_gone:
                return _ended(provisioner, spec, running, probe)
            running.not_ready(probe.message)
        except NeverReadyError as error:
            if unasked is not None:
                raise unasked from None
            _log_output(provisioner, spec, running)
            running.log(f"{error.message}\n")
            return Outcome(BuildStatus.FAILED, error.message, error.code)
        was_gone = probe.gone
        waited = running.readiness.begin()
        gone = _PAUSE_GONE if provisioner.local else PAUSE_GONE_AFAR
        pause = gone if was_gone else pause_between_probes(waited, _PAUSE_MIN)
        running.wait(min(pause, max(running.readiness.timeout - waited, 0)))


def _probe(provisioner: Provisioner, spec: WorkspaceSpec, running: RunningBuild) -> Probe:
    """Probe the workspace for no longer than is left. Raises NeverReadyError when nothing is."""
    if not isinstance(provisioner, ProbesInterruptibly):
        return provisioner.probe(spec)
    began = monotonic()

    def between() -> None:
        running.check()
        if monotonic() - began > _PROBE_MIN:
            running.not_ready()

    return provisioner.probe_interruptibly(spec, between)


def _ended(provisioner: Provisioner, spec: WorkspaceSpec, running: RunningBuild, probe: Probe) -> Outcome:
    """Fail the start. The workspace is kept for diagnosis, as after every other failure, but no longer served."""
    message = running.masked(probe.message)
    _log_output(provisioner, spec, running)
    running.log(f"{message}\n")
    if isinstance(provisioner, RestsWithHost):  # whose workspaces are served again when a builds worker starts
        try:
            provisioner.stop(spec, running)
        except BuildStoppedError:
            raise
        except PrebuildError as error:
            log.warning("failed_workspace_not_stopped", workspace=spec.workspace_id, error=running.masked(str(error)))
    return Outcome(BuildStatus.FAILED, message, ProvisionerError.code)


def _log_output(provisioner: Provisioner, spec: WorkspaceSpec, running: RunningBuild) -> None:
    """Copy the end of what the served process has written to the build's log, because the workspace may be deleted."""
    if not isinstance(provisioner, KeepsOutput):
        return
    try:
        text = provisioner.served_output(spec).text
    except PrebuildError as error:
        text = f"its output cannot be read: {error.message}"
    if text.strip():
        running.log(f"output of the served process:\n{text.rstrip()}\n")
