"""Stands for a provisioner that is not installed, or can't be loaded, where a build was taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from prebuild_tasks.errors import PrebuildError, ProvisionerError
from prebuild_tasks.provisioners.port import BuildContext, Probe, Resource, WorkspaceSpec


class Missing:
    """Every operation fails in one sentence: a build that nobody can do must end, not wait for ever."""

    local = False

    def __init__(self, name: str, host: str, error: PrebuildError) -> None:
        self.name = name
        self._words, self._hint = f"{error.message} on {host}", error.hint

    def check_config(self, config: Mapping[str, Any]) -> None:
        self._fail()

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        self._fail()

    def probe(self, spec: WorkspaceSpec) -> Probe:
        self._fail()

    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        self._fail()

    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        self._fail()

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        self._fail()

    def list(self, installation: str, configs: Iterable[Mapping[str, Any]] = ()) -> Iterable[Resource]:
        self._fail()

    def _fail(self) -> NoReturn:
        raise ProvisionerError(self._words, hint=self._hint)
