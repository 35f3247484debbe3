"""Builds as builds workers and the sweep read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import BuildStatus, Transition


@dataclass(frozen=True, slots=True)
class StoredParameter:
    """A preset's parameter: its value, or where builds workers find it."""

    name: str
    value: str | None
    from_env: str | None = None
    """The environment variable that holds a secret value."""
    from_file: str | None = None
    """The file that holds a secret value."""


@dataclass(frozen=True, slots=True)
class TakenBuild:
    """A build this process runs now, with all that its provisioner needs."""

    id: str
    attempt: int
    transition: Transition
    reason: str
    created_at: datetime
    workspace_id: str
    build_number: int
    name: str
    owner: str
    preset_id: int
    preset: str
    template: str
    version: str
    active: bool
    """Whether that is the template's active version."""
    provisioner: str
    config: Mapping[str, object]
    ready_timeout: float
    parameters: Sequence[StoredParameter]
    installation: str

    @property
    def ref(self) -> str:
        return str(PresetRef.of(self.template, self.preset, self.version, active=self.active))


@dataclass(frozen=True, slots=True)
class Beat:
    """What the heart learns about one of its builds."""

    id: str
    attempt: int
    canceling: bool


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of a build's output. Fields are named as the table's columns."""

    build_id: str
    attempt: int
    seq: int
    """Counts the pieces of one attempt."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LostBuild:
    """A build whose runner is no longer heard of, as it was read."""

    id: str
    attempt: int
    status: BuildStatus
    transition: Transition
    runner: str
    heartbeat_at: datetime | None
    workspace_id: str
    number: int
    preset_id: int
    created_at: datetime
    host: str
    """The machine that its workspace is bound to; empty: none."""
    owner: str
    name: str
    """The workspace's."""
    initiator: str
    reason: str


@dataclass(frozen=True, slots=True)
class NextBuild:
    """A pending build, locked. `attempt`: how many have been made, all of which lost their worker."""

    id: str
    attempt: int
