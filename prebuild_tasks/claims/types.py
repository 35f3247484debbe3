"""What a claim is asked with, and what it answers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from prebuild_tasks.errors import BeingBuiltError
from prebuild_tasks.model.vocabulary import BuildStatus, ClaimState, PresetStatus
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.workspaces import FollowUp

if TYPE_CHECKING:
    from prebuild_tasks.schema.pauses import StoredPause


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Who wants what. `presets` in order of preference, or `template` with `parameters` for the matching preset."""

    owner: str
    presets: Sequence[str] = ()
    template: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    """Empty: the prebuild's own, without its prefix."""
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """Made before the first try: a retry with the same id answers the same workspace."""
    wait: bool = False
    """When none is ready, let one be built for the owner; repeat the request to get it."""
    repeated: bool = False
    """Asked before, and counted as a miss then: who waits asks often, and missed once."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    request: ClaimRequest
    owner: str
    started: float
    max_builds_in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedRow:
    """A claimed workspace as the database tells it; the columns of `store.ANSWER_COLUMNS`."""

    id: str
    name: str
    owner: str
    url: str
    directory: str
    resource_id: str
    claimed_at: datetime
    claimed_until: datetime | None
    status: BuildStatus
    """Of its latest build; so is the number."""
    reason: str
    preset_id: int
    build_number: int
    organization_id: int
    host: str


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """A claimed workspace, in the words of every port."""

    workspace: str
    """Its name."""
    workspace_id: str
    preset: str
    """`template/preset`, with `@version` unless that is the active version."""
    owner: str
    url: str
    """Empty where the provisioner gave none; so are the next two."""
    directory: str
    resource_id: str
    host: str
    """The machine that a local workspace is bound to; empty for one that any host can reach."""
    request_id: str
    claimed_at: datetime
    state: ClaimState
    claimed_until: datetime | None = None
    """The end of its `claimed_ttl`; None where the preset has none, and then it is not in the report."""

    def report(self) -> dict[str, str]:
        """As JSON."""
        told = {
            "workspace": self.workspace,
            "workspace_id": self.workspace_id,
            "preset": self.preset,
            "owner": self.owner,
            "url": self.url,
            "directory": self.directory,
            "resource_id": self.resource_id,
            "host": self.host,
            "request_id": self.request_id,
            "claimed_at": self.claimed_at.isoformat(),
            "state": self.state.value,
        }
        return told if self.claimed_until is None else {**told, "claimed_until": self.claimed_until.isoformat()}


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer, and what the claim's commit leaves to do."""

    answer: ClaimAnswer
    follow_up: FollowUp
    """The refill of the pool, and the build that makes the workspace its owner's."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A preset, as far as a claim must know it."""

    id: int
    ref: str
    organization_id: int
    claimed_ttl: float | None
    hook: bool
    max_per_owner: int | None
    max_builds_in_flight: int | None
    recipe_digest: str
    status: PresetStatus
    status_reason: str
    paused: StoredPause | None
    active: bool
    deleted: bool
    rolling: bool
    outdated: bool = False
    """Taken as second choice: invalidated ones count too, only those past their TTL do not."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """A workspace that is being built for somebody."""

    workspace_id: str
    name: str
    preset_id: int
    follow_up: FollowUp
    """Without a build when that is under way already."""


@dataclass(frozen=True, slots=True)
class BeingBuilt:
    """No prebuild was ready, so one is being built for the owner. The same request, repeated, answers it."""

    reserved: Reserved
    owner: str
    presets: str
    """The names of the presets that were asked for."""

    @property
    def follow_up(self) -> FollowUp:
        """What the reservation's commit leaves to do."""
        return self.reserved.follow_up

    def error(self) -> BeingBuiltError:
        """Make the miss that a face raises, once it has sent the follow-up."""
        name = self.reserved.name
        return BeingBuiltError(
            f"no prebuild of {self.presets} is ready: {name} is being built for {self.owner}",
            workspace=name,
            preset_id=self.reserved.preset_id,
            hint="see it grow",
            remedy=Remedy(RemedyKind.FOLLOW_LOG, f"{self.owner}/{name}"),
        )
