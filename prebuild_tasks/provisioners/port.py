"""The seams: what the outside implements, and what the project promises. The contract stands in the docstrings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class WorkspaceSpec:
    """One workspace, as a provisioner gets to see it: its identity, recipe and parameters, secrets resolved."""

    installation: str
    """Random id of the database; marks every resource, so that nothing foreign is ever touched."""
    workspace_id: str
    attempt: int
    """How often this build was taken up; leftovers of lower attempts are ended first, their late results refused."""
    name: str
    owner: str
    template: str
    version: str
    preset: str
    config: Mapping[str, Any]
    """The template version's `config`, as declared."""
    parameters: Mapping[str, str] = field(repr=False)
    """The preset's parameters. May hold secrets: never to be logged or shown."""
    ready_timeout: float = 300.0
    """Seconds from the end of `start` until the workspace must be ready."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What a workspace consists of, in the answer of a claim."""

    workspace_id: str
    resource_id: str
    """The provisioner's own name for it: a container id, a directory, a cloud id."""
    url: str = ""
    directory: str = ""
    installation: str = ""
    claimed: bool = False
    """The durable mark a claim leaves on the resource itself; a marked one is never destroyed as unknown."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a workspace is ready for a person, and in the provisioner's words why not."""

    ready: bool
    message: str = ""
    gone: bool = False
    """The resource is no longer there, or can never be ready again: no second look is needed."""


class BuildContext(Protocol):
    """A running build, as the provisioner sees it."""

    def log(self, text: str) -> None:
        """Append output (whole lines or parts of them) to the build's log. Secrets are masked on the way."""

    def check(self) -> None:
        """Return at once, or raise BuildStoppedError when the build was canceled, ran out of time or lost its lease."""

    def wait(self, seconds: float) -> None:
        """Sleep, ending early with BuildStoppedError as `check` does."""


class Provisioner(Protocol):
    """Makes, probes and destroys the resources of workspaces.

    Every operation is idempotent by workspace id and safe when repeated, when the resource is half made and when it is
    already gone. `start` and `delete` first end what lower attempts left behind, `claim` what runs of their hook. An
    operation that takes long calls `context.check()` or `context.wait()` at least once a second and cleans up nothing
    when they raise: a later attempt or a delete will. Errors: CannotBuildError when trying again is pointless,
    ProvisionerError otherwise, its message being what people read in `status`.
    """

    @property
    def name(self) -> str:
        """The name under which a template asks for it; usually a class variable."""

    @property
    def local(self) -> bool:
        """Resources live on the host of the worker that made them; only that host's builds worker can reach them."""

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Refuse a config that can never work, with CannotBuildError; called by `apply` before anything is written."""

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        """Make the workspace. Started before by the same or a higher attempt: answer what is there."""

    def probe(self, spec: WorkspaceSpec) -> Probe:
        """Is it ready? Returns within 30 seconds; a resource that is gone is not ready."""

    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Leave the durable claimed mark, then run the personalising hook, if any, for `spec.owner`."""

    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End what runs, keep what is stored."""

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End and remove everything of this workspace. Gone already is success."""

    def list(self, installation: str, configs: Iterable[Mapping[str, Any]] = ()) -> Iterable[Resource]:
        """Every resource that carries this installation's mark, half-made ones included.

        `configs`: those of every version there is, for adapters that must be told where to look. Raises
        ProvisionerError when one of the places can't be asked: half a list would pass for a loss.
        """


@runtime_checkable
class MayNotList(Protocol):
    """A provisioner whose list leaves out what some configs make: what is missing from it proves nothing then."""

    def lists(self, config: Mapping[str, Any]) -> bool:
        """Whether workspaces of this config are listed."""


@runtime_checkable
class ListsOnce(Protocol):
    """A provisioner that may not list, and of which many configs, as those of a recipe's versions, ask for one list."""

    def list_key(self, config: Mapping[str, Any]) -> str:
        """The same for configs of which one answers for all; empty for one that is not listed at all."""


@runtime_checkable
class RestsWithHost(Protocol):
    """A provisioner whose workspaces are processes of this machine and rest while its service is down."""

    def rest(self) -> int:
        """End every process of every workspace on this machine, and keep files, ports and marks.

        Returns how many workspaces were served.
        """

    def serve_again(self) -> int:
        """Serve every published workspace again, claimed ones included, without running `start`.

        Called once when a builds worker starts, possibly while others work on the same machine. Returns how many
        workspaces are served.
        """


def is_listed(adapter: Provisioner, config: Mapping[str, Any]) -> bool:
    """Return whether the adapter's list includes the workspaces of this config."""
    return not isinstance(adapter, MayNotList) or adapter.lists(config)
