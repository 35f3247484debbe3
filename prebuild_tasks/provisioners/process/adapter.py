"""The process provisioner: a workspace is a directory of its own and, optionally, a served process on a free port."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from psutil import Process

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.provisioners.port import BuildContext, Probe, Resource, WorkspaceSpec
from prebuild_tasks.provisioners.process.config import ProcessConfig, parse
from prebuild_tasks.provisioners.process.environment import Environment
from prebuild_tasks.provisioners.process.place import Place, Published, places
from prebuild_tasks.provisioners.shared import processes
from prebuild_tasks.provisioners.shared.config import Command, argv_of
from prebuild_tasks.provisioners.shared.disk import tail
from prebuild_tasks.provisioners.shared.environment import of_owner
from prebuild_tasks.provisioners.shared.marks import refuse_claimed
from prebuild_tasks.provisioners.shared.output import last_words
from prebuild_tasks.provisioners.shared.run import run, spawn

log = logging.getLogger(__name__)

PROBE_TIMEOUT = 30.0


@contextmanager
def _in_words() -> Iterator[None]:
    """A full disk or a missing right is a sentence about the workspace, not a crash of the adapter."""
    try:
        yield
    except OSError as error:
        raise ProvisionerError(f"{error.filename or 'the workspace'}: {error.strerror or error}") from error


class ProcessProvisioner:
    """Local workspaces under the data directory. See `process_files` for the layout."""

    name: ClassVar[str] = "process"
    local: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self._root = settings.data_dir / "workspaces"
        self._environment = Environment(settings)
        self._public_host = settings.public_host
        first, _, last = settings.workspace_ports.partition("-")
        self._ports = range(int(first), int(last) + 1)

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Refuse a config without `start`, or with a key nobody reads."""
        parse(config)

    @_in_words()
    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        """Run `start`, publish, run `serve`. What is published is answered, and served again if need be."""
        config, place = parse(spec.config), self._place(spec)
        context.check()  # last look before anything is made: an attempt that slept may have been overtaken
        state = place.begin(spec.installation, spec.attempt)
        if state is None:
            # Only now, when no lower attempt can begin anything any more.
            processes.end(_lower_attempts(place, spec.attempt), pause=context.wait)
            directory = place.make_directory(spec.attempt, context)
            port = place.reserve_port(self._ports) if config.serve else 0
            own = self._environment.own(spec, directory, port)
            self._run("start", config, config.start, place, own, context)
            serve = tuple(config.limits.wrap(argv_of(config.serve), served=True)) if config.serve else ()
            state = Published(attempt=spec.attempt, port=port, serve=serve, env=own)
            place.publish(state)
        place.unmark_stopped()
        self._serve(place, context.wait)
        return self._resource(place, state)

    def probe(self, spec: WorkspaceSpec) -> Probe:
        """The served process lives, and `ready` says so (or its port answers)."""
        config, place = parse(spec.config), self._place(spec)
        state = place.published()
        if state is None:
            return Probe(ready=False, message="the workspace's directory is gone", gone=True)
        if state.serve and not processes.is_alive(state.pid, state.born):
            words = last_words(tail(place.serve_log))
            return Probe(ready=False, message=f"the served process ended: {words}", gone=True)
        if config.ready is None:
            return self._probe_port(state.port)
        try:
            self._run("ready", config, config.ready, place, state.env)
        except ProvisionerError as error:
            return Probe(ready=False, message=str(error))
        return Probe(ready=True)

    @_in_words()
    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Mark first, so that nothing takes it for a stray while the hook runs."""
        config, place = parse(spec.config), self._place(spec)
        mark = place.claim_mark()
        if mark.get("owner", spec.owner) != spec.owner:
            raise ProvisionerError(f"the workspace was claimed by {mark['owner']}")
        if mark.get("personalised"):
            return
        place.mark_claimed(spec.owner)
        if (state := place.published()) is None:
            raise ProvisionerError("the workspace's directory is gone")
        if config.claim is not None:
            context.check()  # an attempt that slept may have been overtaken, and is not to end the later one's hook
            processes.end(_claim_hooks(place, spec.owner), pause=context.wait)
            own = self._environment.own(spec, place.directory(state.attempt), state.port)
            self._run("claim", config, config.claim, place, own, context)
        place.mark_claimed(spec.owner, personalised=True)

    @_in_words()
    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End the processes, keep the directory."""
        place = self._place(spec)
        place.mark_stopped()
        processes.end(_processes(place), pause=context.wait)

    @_in_words()
    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End every process of the workspace, wherever it went, then remove its place."""
        Place(self._root, spec.workspace_id).open_up()
        place = self._place(spec)
        refuse_claimed(str(place.claim_mark().get("owner", "")), spec)
        place.withdraw()  # a worker that starts meanwhile does not serve it again
        processes.end(_processes(place), pause=context.wait)
        context.check()
        place.clear(context)
        # A start that slept until now may have published and served it; from here on it can do neither.
        processes.end(_processes(place), pause=context.wait)
        place.remove(context)

    def list(self, installation: str, configs: Iterable[Mapping[str, Any]] = ()) -> Iterator[Resource]:
        """Every place with this installation's mark."""
        for place in places(self._root):
            if place.installation() == installation:
                yield self._resource(place, place.published())

    def rest(self) -> int:
        """End every process of every workspace here; returns how many were served."""
        here = [place for place in places(self._root) if place.path.is_dir()]
        states = [state for place in here if (state := place.published())]
        served = sum(processes.is_alive(state.pid, state.born) for state in states)
        sessions = [leader for place in here for leader in place.sessions()]
        try:
            processes.end(lambda: processes.marked([place.id for place in here], leaders=sessions, within=self._root))
        except ProvisionerError as error:
            log.error("workspaces at rest: %s", error)  # said, not raised: the shutdown goes on
        return served

    def serve_again(self) -> int:
        """Serve every published workspace again, on the port it had, except those stopped on purpose."""
        resumed = 0
        for place in places(self._root):
            try:
                resumed += self._serve(place, again=True)
            except (OSError, ProvisionerError) as error:
                log.warning("workspace %s can't be served again: %s", place.id, error)
        return resumed

    def _place(self, spec: WorkspaceSpec) -> Place:
        place = Place(self._root, spec.workspace_id)
        if place.installation() not in ("", spec.installation):
            raise ProvisionerError(f"{place.path} belongs to another installation")
        return place

    def _serve(self, place: Place, pause: Callable[[float], None] = time.sleep, *, again: bool = False) -> bool:
        """The served process runs and its number is on disk; False without one. `again`: unless it was stopped."""
        with place.serving():
            state = place.published()
            if state is None or not state.serve or (again and place.is_stopped()):
                return False
            if processes.is_alive(state.pid, state.born):
                return True
            # Started before by somebody who died before writing the number down: exactly one may hold the port.
            processes.end(_processes(place, _is_served), pause=pause)
            # Who claimed it since may be known to the mark only.
            owner = place.claim_mark().get("owner")
            env = self._environment.whole(state.env | (of_owner(owner) if owner else {}))
            leader = spawn(state.serve, cwd=place.directory(state.attempt), env=env, log_file=place.serve_log)
            try:
                place.note_session(replace(leader, attempt=state.attempt))
                place.publish(replace(state, pid=leader.pid, born=leader.born))
            except BaseException:  # deleted meanwhile, or the disk is full: nobody would find it again
                processes.end(lambda: processes.marked([place.id], _is_served, [leader]))
                raise
            return True

    def _run(
        self,
        name: str,
        config: ProcessConfig,
        script: Command,
        place: Place,
        own: Mapping[str, str],
        context: BuildContext | None = None,
    ) -> None:
        """Run to the end; without a context it is a probe. Raises ProvisionerError unless it exits with 0."""
        attempt = int(own[processes.ATTEMPT])
        try:
            code, output = run(
                config.limits.wrap(argv_of(script)),
                cwd=Path(own["HOME"]),
                env=self._environment.whole(own),
                context=context,
                timeout=PROBE_TIMEOUT if context is None else None,
                started=lambda leader: place.note_session(replace(leader, attempt=attempt)) if context else None,
            )
        except TimeoutError:
            raise ProvisionerError(f"{name} did not end within {PROBE_TIMEOUT:g} s") from None
        if code:
            how = f"exited with {code}" if code > 0 else f"was ended by signal {-code}"
            raise ProvisionerError(f"{name} {how}: {last_words(output)}")

    def _probe_port(self, port: int) -> Probe:
        if not port:
            return Probe(ready=True)
        try:
            with socket.create_connection((self._environment.probe_address, port), timeout=2):
                return Probe(ready=True)
        except OSError as error:
            return Probe(ready=False, message=f"nothing answers on port {port}: {error.strerror or error}")

    def _resource(self, place: Place, state: Published | None) -> Resource:
        return Resource(
            workspace_id=place.id,
            resource_id=str(place.path),
            url=f"http://{self._public_host}:{state.port}" if state and state.port else "",
            directory=str(place.directory(state.attempt)) if state else "",
            installation=place.installation(),
            claimed=place.is_claimed(),
        )


def _processes(
    place: Place, belongs: Callable[[Mapping[str, str]], bool] = processes.everything
) -> Callable[[], list[Process]]:
    return lambda: processes.marked([place.id], belongs, place.sessions(), place.path)


def _is_served(environ: Mapping[str, str]) -> bool:
    return processes.RUN not in environ


def _claim_hooks(place: Place, owner: str) -> Callable[[], list[Process]]:
    """What a hook left whose worker died or sleeps. Probes run for the pool, and what is served is no run."""
    return lambda: processes.marked(
        [place.id], lambda environ: processes.RUN in environ and environ.get("PREBUILD_OWNER") == owner
    )


def _lower_attempts(place: Place, attempt: int) -> Callable[[], list[Process]]:
    def is_lower(environ: Mapping[str, str]) -> bool:
        number = environ.get(processes.ATTEMPT, "")
        return number.isdecimal() and int(number) <= attempt

    return lambda: processes.marked(
        [place.id], is_lower, [leader for leader in place.sessions() if leader.attempt <= attempt], place.path
    )
