"""A stand-in for a provisioner that is not installed or cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, NoReturn

from prebuild_tasks.errors import PrebuildError, ProvisionerError
from prebuild_tasks.provisioners.port import BuildContext, Probe, Resource, WorkspaceSpec


class Missing:
    """A provisioner whose every operation fails, because a build that cannot run must end rather than wait."""

    local: ClassVar[bool] = False

    def __init__(self, name: str, host: str, error: PrebuildError) -> None:
        self._name, self._message, self._hint = name, f"{error.message} on {host}", error.hint

    @property
    def name(self) -> str:
        """Return the name that the template used."""
        return self._name

    def check_config(self, config: Mapping[str, object]) -> None:
        """Raise ProvisionerError."""
        self._fail()

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        """Raise ProvisionerError."""
        self._fail()

    def probe(self, spec: WorkspaceSpec) -> Probe:
        """Raise ProvisionerError."""
        self._fail()

    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Raise ProvisionerError."""
        self._fail()

    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Raise ProvisionerError."""
        self._fail()

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Raise ProvisionerError."""
        self._fail()

    def list(self, installation: str, configs: Iterable[Mapping[str, object]] = ()) -> Iterable[Resource]:
        """Raise ProvisionerError."""
        self._fail()

    def _fail(self) -> NoReturn:
        raise ProvisionerError(self._message, hint=self._hint)
