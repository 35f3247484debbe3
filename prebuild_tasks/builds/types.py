"""Builds as read from the database by builds workers and by the sweep, and their outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import BuildStatus, Transition

if TYPE_CHECKING:
    from prebuild_tasks.provisioners import Resource


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """What a provisioner asks, and may get no answer from."""

    provisioner: str
    version_id: int = 0
    """The template version whose config names what is asked; 0: whatever the config, the machine's own engine is."""

    @property
    def text(self) -> str:
        return f"{self.provisioner}/{self.version_id}"


@dataclass(frozen=True, slots=True)
class StoredParameter:
    """A preset's parameter: its value, or the place where builds workers read it."""

    name: str
    value: str | None
    from_env: str | None = None
    """The environment variable that holds a secret value."""
    from_file: str | None = None
    """The file that holds a secret value."""


@dataclass(frozen=True, slots=True)
class TakenBuild:
    """A build that this process has taken, with everything that its provisioner needs."""

    id: str
    attempt: int
    transition: Transition
    reason: str
    created_at: datetime
    workspace_id: str
    build_number: int
    name: str
    """The workspace's name."""
    owner: str
    preset_id: int
    preset: str
    template: str
    version: str
    active: bool
    """Whether `version` is the template's active version."""
    provisioner: str
    config: Mapping[str, object]
    ready_timeout: float
    """Seconds."""
    parameters: Sequence[StoredParameter]
    installation: str
    holds: int = 0
    """How many earlier attempts were held, because the provisioner could not be asked."""
    version_id: int = 0
    """The template version's id."""

    @property
    def ref(self) -> PresetRef:
        return PresetRef.of(self.template, self.preset, self.version, active=self.active)


@dataclass(frozen=True, slots=True)
class RenewedLease:
    """A build whose lease was renewed."""

    id: str
    attempt: int
    canceling: bool
    """Whether somebody asked for the build's end."""


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of a build's output. Its fields have the names of the table's columns."""

    build_id: str
    attempt: int
    seq: int
    """The piece's number within the attempt, from 1."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LostBuild:
    """A build whose lease has run out or whose runner is known to be dead, as it was read."""

    id: str
    attempt: int
    holds: int
    """How many of its attempts were held. The others lost their worker."""
    status: BuildStatus
    transition: Transition
    runner: str
    heartbeat_at: datetime | None
    workspace_id: str
    number: int
    preset_id: int
    created_at: datetime
    host: str
    """The machine that the workspace is bound to; empty: none."""
    name: str
    """The workspace's name."""
    initiator: str
    reason: str


@dataclass(frozen=True, slots=True)
class NextBuild:
    """A pending build whose row is locked."""

    id: str
    lost_attempts: int
    """The number of attempts so far that lost their worker."""


@dataclass(frozen=True, slots=True)
class WaitingBuild:
    """A pending build that may be taken now, whether or not it has a message."""

    id: str
    queue: str
    """The host whose queue it is in; empty: the shared queue."""
    work: str
    """What it does to which workspace, for people."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The provisioner's result for a build."""

    status: BuildStatus
    error: str = ""
    """The error, with secrets masked; empty: none."""
    code: str = ""
    """The error code; `lost`: another runner has the build."""
    resource: Resource | None = None
    """The resource of a start that succeeded."""
    alone: bool = False
    """Whether other builds can be expected to fare better, although this one is held."""
