"""A provisioner for random operations, whose builds end as the test says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from prebuild_tasks.errors import CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners import BuildContext, Probe, Resource, WorkspaceSpec


class Scripted:
    """A provisioners.Provisioner whose resources are a set, and whose builds end as the test last set."""

    name: ClassVar[str] = "process"
    local: ClassVar[bool] = False

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.marked: dict[str, str] = {}
        self.fails = ""

    def check_config(self, config: Mapping[str, Any]) -> None:
        pass

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        if self.fails == "half":
            self.there.add(spec.workspace_id)
        self._end()
        self.there.add(spec.workspace_id)
        return Resource(spec.workspace_id, f"r-{spec.workspace_id}", "http://x", "/x", spec.installation)

    def probe(self, spec: WorkspaceSpec) -> Probe:
        return Probe(spec.workspace_id in self.there)

    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        assert spec.workspace_id in self.there
        assert spec.owner != "prebuilds"
        self._end()
        assert self.marked.setdefault(spec.workspace_id, spec.owner) == spec.owner, "one owner each"

    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        raise AssertionError("nobody stops")

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        self._end()
        self.there.discard(spec.workspace_id)

    def list(self, installation: str) -> Iterable[Resource]:
        return [Resource(workspace_id, f"r-{workspace_id}") for workspace_id in self.there]

    def _end(self) -> None:
        if self.fails in ("fails", "half"):
            raise ProvisionerError("no disk")
        if self.fails == "never":
            raise CannotBuildError("no such image")


@dataclass(frozen=True)
class Shelf:
    """The registry in which the builds service looks up its provisioner."""

    provisioner: Scripted

    def get(self, _name: str) -> Scripted:
        return self.provisioner

    get_or_missing = get
