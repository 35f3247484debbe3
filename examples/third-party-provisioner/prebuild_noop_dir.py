"""Provide a one-module provisioner for prebuild_tasks: a workspace is a directory with the files its template names.

<data_dir>/noop-dir/<installation>/<workspace id>/attempt     the highest attempt that has begun
                                                  a1/, a2/    a directory for each attempt
                                                  published   the attempt that is the workspace; written atomically
                                                  claimed     the durable claim marker: the owner
                                                  stopped     present while the workspace is stopped
"""

from __future__ import annotations

import fcntl
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BuildStoppedError, CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners import BuildContext, Probe, Resource, WorkspaceSpec, parse_duration, refuse_claimed

CHECK_INTERVAL = 0.5
"""Seconds between two checks for cancellation; the port allows one second."""


@dataclass(frozen=True)
class Config:
    """The validated `config` of a template."""

    files: Mapping[str, str]
    """File contents by file name."""
    takes: float
    """Duration of a start, in seconds."""


def parse(config: Mapping[str, Any]) -> Config:
    """Validate a config. Raises CannotBuildError with a message for the author of the template."""
    if unknown := config.keys() - {"files", "takes"}:
        raise CannotBuildError(f"config.{min(unknown)} is not a known key; the keys are files, takes")
    files = config.get("files", {})
    if not isinstance(files, Mapping) or not all(isinstance(text, str) for pair in files.items() for text in pair):
        raise CannotBuildError("config.files must map file names to texts")
    if bad := [name for name in files if name != Path(name).name]:
        raise CannotBuildError(f"config.files: {bad[0]!r} is not a file name")
    try:
        return Config(files, parse_duration(config.get("takes", 0)))
    except ValueError as error:
        raise CannotBuildError(f"config.takes: {error}") from None


class NoopDir:
    """Make workspaces as directories, which are local to the host of the worker that made them."""

    name: ClassVar[str] = "noop-dir"
    local: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self._root = settings.data_dir / "noop-dir"

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Raise CannotBuildError for a bad config, when `apply` is called."""
        parse(config)

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        """Make the files in a directory of this attempt, and publish it unless a later attempt has begun."""
        config, place = parse(spec.config), self._place(spec)
        context.check()
        with self._alone():
            if _read(place / "published"):
                (place / "stopped").unlink(missing_ok=True)
                return _resource(place)
            if _highest_attempt(place) > spec.attempt:
                raise BuildStoppedError("a later attempt has begun", reason="lost")
            refuse_claimed(_read(place / "claimed"), spec)
            shutil.rmtree(place, ignore_errors=True)  # whatever lower attempts left
            directory = place / f"a{spec.attempt}"
            directory.mkdir(parents=True)
            _write(place / "attempt", str(spec.attempt))
        context.log("begun\n")
        left = config.takes
        context.check()
        while left > 0:
            context.wait(min(left, CHECK_INTERVAL))
            left -= CHECK_INTERVAL
            self._refuse_lost(place, spec.attempt)
        try:
            for name, text in config.files.items():
                (directory / name).write_text(text)
        except OSError as error:
            context.log(f"{error}\n")
            raise ProvisionerError(f"{error.filename}: {error.strerror}") from error
        with self._alone():
            self._refuse_lost(place, spec.attempt)
            _write(place / "published", directory.name)
            return _resource(place)

    def probe(self, spec: WorkspaceSpec) -> Probe:
        """Report ready as long as the directory exists and the workspace is not stopped."""
        place = self._place(spec)
        if not _read(place / "published"):
            return Probe(ready=False, message="the directory is gone", gone=True)
        if (place / "stopped").exists():
            return Probe(ready=False, message="it is stopped")
        return Probe(ready=True)

    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Leave the marker on the resource itself, where it outlives the database. There is nothing to personalise."""
        place = self._place(spec)
        context.check()
        with self._alone():
            if not _read(place / "published"):
                raise ProvisionerError("the directory is gone")
            if (owner := _read(place / "claimed")) not in ("", spec.owner):
                raise ProvisionerError(f"it was claimed by {owner}")
            _write(place / "claimed", spec.owner)

    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Keep everything; the workspace is no longer ready."""
        context.check()
        if (place := self._place(spec)).exists():
            _write(place / "stopped", "")

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Remove the directory, unless a person has claimed it or it belongs to another installation."""
        place = self._place(spec)
        context.check()
        with self._alone():
            refuse_claimed(_read(place / "claimed"), spec)
            shutil.rmtree(place, ignore_errors=True)
        if place.exists():
            raise ProvisionerError(f"{place} cannot be removed")

    def list(self, installation: str, configs: Iterable[Mapping[str, Any]] = ()) -> Iterator[Resource]:
        """Return all directories, half-made ones included: what is not listed is never cleaned up."""
        for path in sorted((self._root / installation).glob("*/attempt")):
            yield _resource(path.parent)

    def _place(self, spec: WorkspaceSpec) -> Path:
        try:
            name = str(uuid.UUID(spec.workspace_id))  # so that no id can point outside the directory
        except ValueError:
            raise CannotBuildError(f"{spec.workspace_id!r} is not a workspace id") from None
        for other in self._root.glob(f"*/{name}"):
            if other.parent.name != spec.installation:
                raise ProvisionerError("it belongs to another installation")
        return self._root / spec.installation / name

    def _refuse_lost(self, place: Path, attempt: int) -> None:
        if _highest_attempt(place) != attempt:
            raise BuildStoppedError("a later attempt has begun, or it was deleted", reason="lost")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold an exclusive lock between threads and processes. It ends with the process that holds it."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _resource(place: Path) -> Resource:
    published = _read(place / "published")
    return Resource(
        workspace_id=place.name,
        resource_id=str(place),
        directory=str(place / published) if published else "",
        installation=place.parent.name,
        claimed=(place / "claimed").exists(),
    )


def _highest_attempt(place: Path) -> int:
    return int(_read(place / "attempt") or 0)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _write(path: Path, text: str) -> None:
    """Replace a file atomically."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_text(text)
    temporary.replace(path)
