"""The process provisioner: a workspace is a directory and, optionally, a served process on a free port."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from psutil import Process

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.model.addresses import host_in_url
from prebuild_tasks.provisioners.port import BuildContext, Probe, Resource, ServedOutput, WorkspaceSpec
from prebuild_tasks.provisioners.process.config import ProcessConfig, parse
from prebuild_tasks.provisioners.process.directory import Published, WorkspaceDirectory, workspace_directories
from prebuild_tasks.provisioners.process.environment import Environment
from prebuild_tasks.provisioners.process.probe import probe_workspace
from prebuild_tasks.provisioners.shared import processes
from prebuild_tasks.provisioners.shared.claim_markers import refuse_claimed
from prebuild_tasks.provisioners.shared.config import Command, argv_of
from prebuild_tasks.provisioners.shared.disk import tail
from prebuild_tasks.provisioners.shared.environment import of_owner
from prebuild_tasks.provisioners.shared.ports import Ports
from prebuild_tasks.provisioners.shared.probe_context import uninterrupted
from prebuild_tasks.provisioners.shared.run import raise_failure, run, spawn

log = logging.getLogger(__name__)

_OUTPUT_SHOWN = 1 << 16
"""Bytes of the served process's output that people are shown."""


@contextmanager
def _os_errors() -> Iterator[None]:
    """Raise ProvisionerError for an OSError, because a full disk or a missing permission is a failed operation."""
    try:
        yield
    except OSError as error:
        raise ProvisionerError(f"{error.filename or 'the workspace'}: {error.strerror or error}") from error


class ProcessProvisioner:
    """Makes workspaces below the data directory. The module `directory` describes their layout."""

    name: ClassVar[str] = "process"
    local: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self.root = settings.data_dir / "workspaces"
        self._environment = Environment(settings)
        self._public_host = host_in_url(settings.public_host)
        self._ports = Ports(settings)

    def check_config(self, config: Mapping[str, object]) -> None:
        """Refuse a config without `start` or with an unknown key."""
        parse(config)

    @_os_errors()
    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        """Run `start`, publish the attempt, and run `serve`. A published workspace is only served, if it is not yet."""
        config, workspace = parse(spec.config), self._workspace(spec)
        context.check()  # a later attempt may have begun
        state = workspace.begin(spec.installation, spec.attempt)
        if state is None:
            # After `begin`, because from then on no lower attempt can start anything.
            processes.end(_lower_attempts(workspace, spec.attempt), pause=context.wait)
            directory = workspace.make_attempt_directory(spec.attempt, context)
            port = workspace.reserve_port(self._ports, context) if config.serve else 0
            own = self._environment.own(spec, directory, port)
            self._run("start", config, config.start, workspace, own, context)
            serve = tuple(config.limits.wrap(argv_of(config.serve), served=True)) if config.serve else ()
            state = Published(attempt=spec.attempt, port=port, serve=serve, env=own)
            workspace.publish(state)
        workspace.unmark_stopped()
        self.serve(workspace, context.wait)
        return self._resource(workspace, state)

    def probe(self, spec: WorkspaceSpec) -> Probe:
        """Check what the workspace serves, and run `ready`. The module `probe` has the rules."""
        return self.probe_interruptibly(spec, uninterrupted)

    def probe_interruptibly(self, spec: WorkspaceSpec, between: Callable[[], None]) -> Probe:
        """Do the same, and call `between` while `ready` runs."""
        return probe_workspace(self._workspace(spec), parse(spec.config), self._environment, between)

    @_os_errors()
    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Leave the claim marker, then run the hook, during which the workspace must not be treated as a stray."""
        config, workspace = parse(spec.config), self._workspace(spec)
        marker = workspace.claim_marker()
        if marker.owner not in ("", spec.owner):
            raise ProvisionerError(f"the workspace was claimed by {marker.owner}")
        if marker.personalised:
            return
        workspace.mark_claimed(spec.owner)
        if (state := workspace.published()) is None:
            raise ProvisionerError("the workspace's directory is gone")
        if config.claim is not None:
            context.check()  # so that a replaced attempt does not end the hook of the later one
            processes.end(_claim_hooks(workspace, spec.owner), pause=context.wait)
            own = self._environment.own(spec, workspace.attempt_directory(state.attempt), state.port)
            self._run("claim", config, config.claim, workspace, own, context)
        workspace.mark_claimed(spec.owner, personalised=True)

    @_os_errors()
    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End the processes and keep the directory."""
        workspace = self._workspace(spec)
        workspace.mark_stopped()
        processes.end(_processes(workspace), pause=context.wait)

    @_os_errors()
    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End every process of the workspace, then remove its directory."""
        WorkspaceDirectory(self.root, spec.workspace_id).make_writable()
        workspace = self._workspace(spec)
        refuse_claimed(workspace.claim_marker().owner, spec)
        workspace.unpublish()  # so that a worker that is starting does not serve it again
        processes.end(_processes(workspace), pause=context.wait)
        context.check()
        self._ports.let_go(workspace.port())
        workspace.clear(context)
        # A `start` that was suspended may have published and served it meanwhile. It no longer can.
        processes.end(_processes(workspace), pause=context.wait)
        workspace.remove(context)

    def served_output(self, spec: WorkspaceSpec) -> ServedOutput:
        """Return the end of the served process's log."""
        workspace = self._workspace(spec)
        state = workspace.published()
        text = tail(workspace.serve_log, _OUTPUT_SHOWN)
        if state is None or not state.serve:
            return ServedOutput(text, state.env if state else {})
        return ServedOutput(text, state.env, running=processes.still_runs(state.pid, state.born))

    def list(self, installation: str, configs: Iterable[Mapping[str, object]] = ()) -> Iterator[Resource]:
        """Return every workspace that is marked with this installation."""
        for workspace in workspace_directories(self.root):
            if workspace.installation() == installation:
                yield self._resource(workspace, workspace.published())

    def rest(self) -> int:
        """End every process of every workspace. Returns the number of workspaces that were served."""
        workspaces = [workspace for workspace in workspace_directories(self.root) if workspace.path.is_dir()]
        states = [state for workspace in workspaces if (state := workspace.published())]
        served = sum(processes.still_runs(state.pid, state.born) for state in states)
        sessions = [leader for workspace in workspaces for leader in workspace.sessions()]
        try:
            processes.end(
                lambda: processes.marked([workspace.id for workspace in workspaces], leaders=sessions, within=self.root)
            )
        except ProvisionerError as error:
            log.error("workspaces at rest: %s", error)  # not raised, so that the shutdown goes on
        return served

    def serve_again(self) -> int:
        """Serve every published workspace again on the port it had, except those stopped on purpose."""
        served = 0
        for workspace in workspace_directories(self.root):
            try:
                served += self.serve(workspace, again=True)
            except (OSError, ProvisionerError) as error:
                log.warning("workspace %s cannot be served again: %s", workspace.id, error)
        return served

    def _workspace(self, spec: WorkspaceSpec) -> WorkspaceDirectory:
        workspace = WorkspaceDirectory(self.root, spec.workspace_id)
        if workspace.installation() not in ("", spec.installation):
            raise ProvisionerError(f"{workspace.path} belongs to another installation")
        return workspace

    def serve(
        self, workspace: WorkspaceDirectory, pause: Callable[[float], None] = time.sleep, *, again: bool = False
    ) -> bool:
        """Start the served process unless it runs, and record its pid. Returns whether the workspace is served.

        With `again`, a workspace that was stopped on purpose is skipped.
        """
        with workspace.serving():
            state = workspace.published()
            if state is None or not state.serve or (again and workspace.is_stopped()):
                return False
            if processes.still_runs(state.pid, state.born):
                return True
            # A worker may have died between starting the process and recording its pid; the port must be free.
            processes.end(_processes(workspace, _is_served), pause=pause)
            # The workspace may have been claimed since it was published; only the claim marker has the owner.
            owner = workspace.claim_marker().owner
            env = self._environment.whole(state.env | (of_owner(owner) if owner else {}))
            leader = spawn(
                state.serve, cwd=workspace.attempt_directory(state.attempt), env=env, log_file=workspace.serve_log
            )
            try:
                workspace.record_session(replace(leader, attempt=state.attempt))
                workspace.publish(replace(state, pid=leader.pid, born=leader.born))
            except BaseException:  # it was deleted or the disk is full, so that nothing would find the process later
                processes.end(lambda: processes.marked([workspace.id], _is_served, [leader]))
                raise
            return True

    # Seven arguments, self included: which command, where it runs, and for which build.
    def _run(
        self,
        name: str,
        config: ProcessConfig,
        script: Command,
        workspace: WorkspaceDirectory,
        own: Mapping[str, str],
        context: BuildContext,
    ) -> None:
        """Run a command of a build to its end. Raises ProvisionerError unless it exits with 0."""
        attempt = int(own[processes.ATTEMPT])
        code, output = run(
            config.limits.wrap(argv_of(script)),
            cwd=Path(own["HOME"]),
            env=self._environment.whole(own),
            context=context,
            started=lambda leader: workspace.record_session(replace(leader, attempt=attempt)),
        )
        raise_failure(name, code, output)

    def _resource(self, workspace: WorkspaceDirectory, state: Published | None) -> Resource:
        return Resource(
            workspace_id=workspace.id,
            resource_id=str(workspace.path),
            url=f"http://{self._public_host}:{state.port}" if state and state.port else "",
            directory=str(workspace.attempt_directory(state.attempt)) if state else "",
            installation=workspace.installation(),
            claimed=workspace.is_claimed(),
            owner=workspace.claim_marker().owner,
        )


def _processes(
    workspace: WorkspaceDirectory, belongs: Callable[[Mapping[str, str]], bool] = processes.any_process
) -> Callable[[], list[Process]]:
    return lambda: processes.marked([workspace.id], belongs, workspace.sessions(), workspace.path)


def _is_served(environ: Mapping[str, str]) -> bool:
    return processes.RUN not in environ


def _claim_hooks(workspace: WorkspaceDirectory, owner: str) -> Callable[[], list[Process]]:
    """Return a function that finds processes of claim hooks, left by a worker that died or is suspended.

    It does not find probes, which have another owner, nor the served process, which has no run.
    """
    return lambda: processes.marked(
        [workspace.id], lambda environ: processes.RUN in environ and environ.get("PREBUILD_OWNER") == owner
    )


def _lower_attempts(workspace: WorkspaceDirectory, attempt: int) -> Callable[[], list[Process]]:
    def is_lower(environ: Mapping[str, str]) -> bool:
        number = environ.get(processes.ATTEMPT, "")
        return number.isdecimal() and int(number) <= attempt

    return lambda: processes.marked(
        [workspace.id],
        is_lower,
        [leader for leader in workspace.sessions() if leader.attempt <= attempt],
        workspace.path,
    )
