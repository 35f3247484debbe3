"""The interface between the service and its provisioners. The docstrings are its contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class WorkspaceSpec:
    """A workspace as a provisioner sees it: identity, template and parameters, with secrets resolved."""

    installation: str
    """Random id of the database. Every resource is marked with it, so that other installations' are never touched."""
    workspace_id: str
    attempt: int
    """Number of the build's attempt. The processes of lower attempts are ended, and their late results are refused."""
    name: str
    owner: str
    template: str
    version: str
    preset: str
    config: Mapping[str, object]
    """The template version's `config`, as declared."""
    parameters: Mapping[str, str] = field(repr=False)
    """The preset's parameters. They may hold secrets: never log or show them."""
    ready_timeout: float = 300.0
    """Seconds from the end of `start` until the workspace must be ready."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A workspace's resource, as the answer of a claim describes it."""

    workspace_id: str
    resource_id: str
    """The provisioner's own id of it: a container id, a directory, a cloud id."""
    url: str = ""
    directory: str = ""
    installation: str = ""
    claimed: bool = False
    """Whether it has the durable marker of a claim. A resource with it is never deleted as a stray."""
    owner: str = ""
    """The owner in the claim marker; empty: not claimed, or unknown."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a workspace is ready for a person, and the reason when it is not."""

    ready: bool
    message: str = ""
    gone: bool = False
    """Whether the resource no longer exists or can never become ready again."""
    unknown: bool = False
    """Whether the probe could not tell, for example because it took too long. `ready` is then no verdict."""


@dataclass(frozen=True, slots=True)
class ServedOutput:
    """The end of what the process that a workspace serves has written."""

    text: str
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The parameters that it was started with, by which secrets in the text are found."""
    running: bool | None = None
    """Whether the process still runs; None: unknown, or nothing is served."""


class BuildContext(Protocol):
    """A running build as a provisioner sees it."""

    def log(self, text: str) -> None:
        """Append output, in whole lines or parts of lines, to the build's log. Secrets are masked."""

    def check(self) -> None:
        """Raise BuildStoppedError when the build was canceled, ran out of time or lost its lease; never block."""

    def wait(self, seconds: float) -> None:
        """Sleep, and raise BuildStoppedError as soon as `check` would."""


@runtime_checkable
class ReadinessContext(BuildContext, Protocol):
    """The context of a start, for a provisioner whose `start` itself waits until the workspace is ready."""

    def not_ready(self, answer: str | None = None) -> None:
        """Report that the started workspace is not ready yet, and what it answered. People read it meanwhile.

        The first call begins the wait: make it, without an answer, as soon as the workspace is started, and again a few
        times a second while it is asked. Raises NeverReadyError once the wait has lasted for the `ready_timeout` that
        is declared by then, which may have changed since the start began.
        """


class Provisioner(Protocol):
    """The operations on the resources of workspaces.

    Every operation is idempotent by workspace id: it can be repeated, also on a half-made resource and on one that no
    longer exists. `start` and `delete` first end what lower attempts left running; `claim` ends what is left of their
    claim hooks.

    An operation that takes long calls `context.check()` or `context.wait()` at least once a second. When they raise, it
    cleans up nothing: a later attempt or a `delete` does.

    Raise CannotBuildError when another try is pointless, CannotAskError when what makes the resources could not be
    asked, and ProvisionerError otherwise. People read the message in `status`.
    """

    @property
    def name(self) -> str:
        """Return the name that templates use; usually a class variable."""

    @property
    def local(self) -> bool:
        """Return whether only the builds worker of the host that made a resource can reach it."""

    def check_config(self, config: Mapping[str, object]) -> None:
        """Raise CannotBuildError for a config that can never work. `apply` calls this before it writes anything."""

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        """Make the workspace, or return the one that this or another attempt has made already."""

    def probe(self, spec: WorkspaceSpec) -> Probe:
        """Return within 30 seconds whether the workspace is ready. One that no longer exists is not.

        Every error means that this could not be found out. It is not a verdict about the workspace.
        """

    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Leave the durable marker of the claim, then run the claim hook, if there is one, for `spec.owner`."""

    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End the workspace's processes and keep its data."""

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End and remove everything of this workspace. Succeed when nothing is left of it."""

    def list(self, installation: str, configs: Iterable[Mapping[str, object]] = ()) -> Iterable[Resource]:
        """Return every resource with this installation's mark, half-made ones included.

        Args:
            installation: The id that the resources are marked with.
            configs: The configs of all template versions, for adapters that need them to know where to look.

        Raises:
            ProvisionerError: When one of those places cannot be asked. Workspaces that are missing from an incomplete
                list would be suspected to be lost.
        """


@runtime_checkable
class MayNotList(Protocol):
    """A provisioner whose list does not include the workspaces of some configs.

    They are not suspected to be lost when the list lacks them.
    """

    def lists(self, config: Mapping[str, object]) -> bool:
        """Return whether the list includes workspaces of this config."""


@runtime_checkable
class ListsOnce(Protocol):
    """A MayNotList for which several configs, such as those of one template's versions, have the same list."""

    def list_key(self, config: Mapping[str, object]) -> str:
        """Return a key that configs with the same list share; empty for a config without a list."""


@runtime_checkable
class MayNotProbe(Protocol):
    """A provisioner whose probe cannot tell anything about the workspaces of some configs.

    Such a workspace that the list lacks cannot be asked for by itself.
    """

    def probes(self, config: Mapping[str, object]) -> bool:
        """Return whether the probe finds out whether a workspace of this config exists."""


@runtime_checkable
class ProbesInterruptibly(Protocol):
    """A provisioner whose probe can be ended early, as when a start has no time left to become ready."""

    def probe_interruptibly(self, spec: WorkspaceSpec, between: Callable[[], None]) -> Probe:
        """Probe as `probe` does, and call `between` a few times a second. What it raises ends the probe."""


@runtime_checkable
class ChecksMachine(Protocol):
    """A provisioner that can tell whether this machine has what it needs, such as an engine."""

    def check_machine(self) -> None:
        """Raise ProvisionerError, within a few seconds, when no workspace can be made from this machine.

        `apply` warns of it, because builds may run on another machine.
        """


@runtime_checkable
class RestsWithHost(Protocol):
    """A provisioner whose workspaces are processes of a host, and rest while the service there is down."""

    def rest(self) -> int:
        """End every process of every workspace on this machine, and keep files, ports and markers.

        Returns the number of workspaces that were served.
        """

    def serve_again(self) -> int:
        """Serve every published workspace again, claimed ones included, without running `start`.

        Called once when a builds worker starts, possibly while others work on the same machine. Returns the number
        of workspaces that are served.
        """


@runtime_checkable
class KeepsOutput(Protocol):
    """A provisioner that keeps what the process that a workspace serves writes."""

    def served_output(self, spec: WorkspaceSpec) -> ServedOutput:
        """Return the end of the output, at most about 64 KiB, empty without any. `spec` may lack parameters."""


def is_listed(adapter: Provisioner, config: Mapping[str, object]) -> bool:
    """Return whether the adapter's list includes the workspaces of this config."""
    return not isinstance(adapter, MayNotList) or adapter.lists(config)


def is_probed(adapter: Provisioner, config: Mapping[str, object]) -> bool:
    """Return whether the adapter's probe tells whether a workspace of this config exists."""
    return not isinstance(adapter, MayNotProbe) or adapter.probes(config)
