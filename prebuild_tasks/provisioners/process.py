"""The process provisioner: a workspace is a directory of its own and, optionally, a served process on a free port."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import CannotBuildError, ProvisionerError
from prebuild_tasks.ports import BuildContext, Probe, Resource, WorkspaceSpec
from prebuild_tasks.provisioners import process_tree as tree
from prebuild_tasks.provisioners.process_files import Place, Published, places

log = logging.getLogger(__name__)

PROBE_TIMEOUT = 30.0
_NEVER_PASSED = re.compile(
    r"(PREBUILD_.*|DATABASE_URL|REDIS_URL|CELERY_.*|FLOWER_.*|PG(PASSWORD|USER|HOST|DATABASE|PASSFILE|SERVICE.*))(_FILE)?"
)
"""Whatever the pattern says, a workspace never sees the service's own addresses and credentials."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Command = str | list[str]


class ProcessConfig(BaseModel):
    """`config:` of a template with `provisioner: process`. A string is a script for `sh -eu`, a list is argv."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Command = Field(min_length=1)
    """Makes the workspace, in its directory. What it leaves running is ended: see `serve`."""
    serve: Command | None = None
    """Long-lived; listens on $PORT of $PREBUILD_WORKSPACE_BIND."""
    ready: Command | None = None
    """Exit 0: ready. Left out: ready when something listens on $PORT, or at once without `serve`."""
    claim: Command | None = None
    """Run once for the new owner, $PREBUILD_OWNER."""


class ProcessProvisioner:
    """Local workspaces under the data directory. See `process_files` for the layout."""

    name: ClassVar[str] = "process"
    local: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self._root = settings.data_dir / "workspaces"
        self._cache = settings.data_dir / "cache"
        self._public_host = settings.public_host
        self._bind = "127.0.0.1" if settings.public_host in ("127.0.0.1", "localhost") else "0.0.0.0"  # noqa: S104
        self._pass_env = settings.provisioner_pass_env

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Refuse a config without `start`, or with a key nobody reads."""
        _parse(config)

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        """Run `start`, reserve the port, run `serve`, publish."""
        config, place = _parse(spec.config), Place(self._root, spec.workspace_id)
        if (state := place.published()) and state.attempt <= spec.attempt == max(place.highest_attempt(), spec.attempt):
            return self._resource(place, self._serve(place, state))
        self._end_attempts_below(spec)
        context.check()  # last look before anything is made: an attempt that slept may have been overtaken
        directory = place.begin(spec.installation, spec.attempt)
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        port = place.reserve_port() if config.serve else 0
        own = self._own_env(spec, directory, port)
        code, tail = self._run(config.start, directory, own, context)
        if code:
            raise ProvisionerError(f"start exited with {code}: {_last_words(tail)}")
        state = Published(
            attempt=spec.attempt,
            directory=str(directory),
            port=port,
            serve=tuple(tree.command(config.serve)) if config.serve else (),
            env=own,
        )
        place.publish(state)
        return self._resource(place, self._serve(place, state))

    def probe(self, spec: WorkspaceSpec) -> Probe:
        """The served process lives, and `ready` says so (or its port answers)."""
        config, place = _parse(spec.config), Place(self._root, spec.workspace_id)
        state = place.published()
        if state is None or not Path(state.directory).is_dir():
            return Probe(ready=False, message="the workspace's directory is gone")
        if state.serve and not tree.is_running(state.pid, place.id):
            return Probe(ready=False, message=f"the served process ended: {_last_words(_tail(place.serve_log))}")
        if config.ready is None:
            return self._probe_port(state)
        try:
            code, tail = self._run(config.ready, Path(state.directory), state.env, None, timeout=PROBE_TIMEOUT)
        except TimeoutError:
            return Probe(ready=False, message=f"ready did not end within {PROBE_TIMEOUT:g} s")
        except ProvisionerError as error:
            return Probe(ready=False, message=str(error))
        return Probe(ready=code == 0, message="" if code == 0 else f"ready exited with {code}: {_last_words(tail)}")

    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Mark first, so that nothing takes it for a stray while the hook runs."""
        config, place = _parse(spec.config), Place(self._root, spec.workspace_id)
        place.mark_claimed(spec.owner)
        state = place.published()
        if config.claim is None or state is None:
            return
        own = self._own_env(spec, Path(state.directory), state.port)
        code, tail = self._run(config.claim, Path(state.directory), own, context)
        if code:
            raise ProvisionerError(f"claim exited with {code}: {_last_words(tail)}")

    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End the processes, keep the directory."""
        place = Place(self._root, spec.workspace_id)
        tree.end(lambda: tree.marked([place.id]))

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End every process of the workspace, wherever it went, then remove its place."""
        self.stop(spec, context)
        context.check()
        Place(self._root, spec.workspace_id).remove()

    def list(self, installation: str) -> Iterator[Resource]:
        """Every place with this installation's mark."""
        for place in places(self._root):
            if place.installation() == installation:
                state = place.published()
                yield (
                    self._resource(place, state)
                    if state
                    else Resource(
                        place.id, str(place.path), installation=installation, claimed=place.claimed_mark.exists()
                    )
                )

    def suspend(self) -> int:
        """End every process of every workspace here."""
        ids = [place.id for place in places(self._root)]
        return tree.end(lambda: tree.marked(ids)) if ids else 0

    def resume(self) -> int:
        """Serve every published workspace again, on the port it had."""
        resumed = 0
        for place in places(self._root):
            state = place.published()
            if state is None or not state.serve:
                continue
            try:
                self._serve(place, state)
                resumed += 1
            except (OSError, ProvisionerError) as error:
                log.warning("workspace %s can't be served again: %s", place.id, error)
        return resumed

    def _serve(self, place: Place, state: Published) -> Published:
        """The served process runs, and its pid is on disk."""
        if not state.serve or tree.is_running(state.pid, place.id):
            return state
        # Started before by somebody who died before writing the pid down: exactly one may hold the port.
        tree.end(lambda: tree.marked([place.id]))
        pid = tree.spawn(state.serve, cwd=Path(state.directory), env=self._environment(state.env), log=place.serve_log)
        served = replace(state, pid=pid)
        place.publish(replace(served, attempt=max(state.attempt, place.highest_attempt())))
        return served

    def _end_attempts_below(self, spec: WorkspaceSpec) -> None:
        def is_older(environ: Mapping[str, str]) -> bool:
            attempt = environ.get(tree.ATTEMPT, "")
            return attempt.isdigit() and int(attempt) < spec.attempt

        tree.end(lambda: tree.marked([spec.workspace_id], is_older))

    def _run(
        self, script: Command, directory: Path, own: Mapping[str, str], context: BuildContext | None, **options: float
    ) -> tuple[int, str]:
        try:
            return tree.run(tree.command(script), cwd=directory, env=self._environment(own), context=context, **options)
        except TimeoutError:
            raise
        except OSError as error:
            raise ProvisionerError(f"{error.filename or directory}: {error.strerror}") from error

    def _own_env(self, spec: WorkspaceSpec, directory: Path, port: int) -> dict[str, str]:
        bad = [name for name, value in spec.parameters.items() if not _VARIABLE.fullmatch(name) or "\0" in value]
        if bad:
            raise CannotBuildError(f"the parameter {bad[0]!r} can't be an environment variable")
        own = dict(spec.parameters)
        if port:
            own |= {"PORT": str(port), "PREBUILD_WORKSPACE_PORT": str(port), "PREBUILD_WORKSPACE_BIND": self._bind}
        return own | {
            "HOME": str(directory),
            "TMPDIR": str(directory / ".tmp"),
            tree.WORKSPACE: spec.workspace_id,
            tree.ATTEMPT: str(spec.attempt),
            "PREBUILD_WORKSPACE_NAME": spec.name,
            "PREBUILD_WORKSPACE_OWNER": spec.owner,
            "PREBUILD_WORKSPACE_TEMPLATE": spec.template,
            "PREBUILD_WORKSPACE_VERSION": spec.version,
            "PREBUILD_WORKSPACE_PRESET": spec.preset,
            "PREBUILD_WORKSPACE_DIRECTORY": str(directory),
            "PREBUILD_WORKSPACE_CACHE": str(self._cache),
            "PREBUILD_OWNER": spec.owner,
        }

    def _environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """Built from nothing: what a workspace needs, what it was declared to see, and its own."""
        passed = {
            name: value
            for name, value in os.environ.items()
            if any(fnmatch(name, pattern) for pattern in self._pass_env) and not _NEVER_PASSED.fullmatch(name)
        }
        return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"} | passed | dict(own)

    def _probe_port(self, state: Published) -> Probe:
        if not state.port:
            return Probe(ready=True)
        try:
            with socket.create_connection(("127.0.0.1", state.port), timeout=2):
                return Probe(ready=True)
        except OSError as error:
            return Probe(ready=False, message=f"nothing answers on port {state.port}: {error.strerror or error}")

    def _resource(self, place: Place, state: Published) -> Resource:
        return Resource(
            workspace_id=place.id,
            resource_id=str(place.path),
            url=f"http://{self._public_host}:{state.port}" if state.port else "",
            directory=state.directory,
            installation=place.installation(),
            claimed=place.claimed_mark.exists(),
        )


def _parse(config: Mapping[str, Any]) -> ProcessConfig:
    try:
        return ProcessConfig.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        words = {
            "missing": f"config has no {key}",
            "extra_forbidden": f"config knows no {key}; it takes {', '.join(ProcessConfig.model_fields)}",
        }.get(first["type"], f"config.{key} must be a script or a list of arguments, and not empty")
        problem = CannotBuildError(words)
        problem.key = key  # type: ignore[attr-defined]
        raise problem from None


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-2:])[-500:] or "no output"


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 4096, 0))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
