"""Requests for workspaces, and the answers to them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from prebuild_tasks.errors import BeingBuiltError
from prebuild_tasks.json_views import result_of
from prebuild_tasks.model.actors import Actor, ActorKind
from prebuild_tasks.model.vocabulary import LOCAL_PRINCIPAL, ClaimState
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.workspaces import FollowUp

if TYPE_CHECKING:
    from prebuild_tasks.access import Reach
    from prebuild_tasks.model.json_values import JsonValue


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A person's request for a workspace. It names either presets, or a template with parameters."""

    owner: str
    presets: Sequence[str] = ()
    """Presets, in order of preference."""
    template: str = ""
    """The template whose preset matches the parameters."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    """The workspace's name; empty: the prebuild's, without its prefix."""
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """Made before the first try, so that a retry with the same id returns the same workspace."""
    wait: bool = False
    """If no prebuild is ready, have one built for the owner; repeat the request to get it."""
    repeated: bool = False
    """The request was made before. It is then not counted as another miss."""
    principal: str = LOCAL_PRINCIPAL
    """To whom the request id belongs: another principal's request of the same id is another request."""
    reach: Reach | None = None
    """What the principal may claim, and for whom. None: everything, for everybody."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request that is being answered."""

    request: ClaimRequest
    owner: str
    """The owner's checked name."""
    started: float
    """The monotonic clock at its beginning, in seconds."""
    max_builds_in_flight: int
    """The installation's limit; 0: none."""
    alive_within: float
    """Seconds within which a live process has announced itself."""
    claim_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """The id that the claim gets if it is given a workspace, or one is reserved for it."""

    @property
    def actor(self) -> Actor:
        """Who claims: the owner, or a token on the owner's behalf."""
        principal = self.request.principal
        return Actor.of(self.owner) if principal == LOCAL_PRINCIPAL else Actor(ActorKind.TOKEN, principal, self.owner)


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """A claimed workspace, with the same fields in every interface."""

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
    """The end of its `claimed_ttl`; None, and left out of the report, if the preset has none."""
    warning: str = ""
    """Why the workspace may not answer, with the next step; empty, and left out of the report, if nothing is known."""
    id: str = ""
    """The claim's id; empty, and left out of the report, if a process of release 0.1 made the claim."""

    def report(self) -> dict[str, str]:
        """Return the answer as JSON."""
        return cast("dict[str, str]", result_of(self))

    def to_json(self) -> dict[str, JsonValue]:
        """Return the answer as JSON, with the keys of `prebuild claim --json`."""
        return result_of(self)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A successful claim."""

    answer: ClaimAnswer
    follow_up: FollowUp
    """The pool's refill, and the build that personalises the workspace."""
    replayed: bool = False
    """Whether an earlier request with this id got the workspace."""


class WaitStage(StrEnum):
    """How a claim that waits stands."""

    BEING_BUILT = "being_built"
    SETTLED = "settled"
    """It need not wait any longer: its workspace is ready, or could not be built, or has ended."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """A workspace that is being built for a person."""

    workspace_id: str
    name: str
    preset_id: int
    follow_up: FollowUp
    """The pool's turn, and the workspace's build unless that has already begun."""


@dataclass(frozen=True, slots=True)
class BeingBuilt:
    """An answer without a workspace yet: one is being built for the owner. Repeating the request returns it."""

    reserved: Reserved
    owner: str
    presets: str
    """The names of the requested presets."""
    claim_id: str = ""
    """The claim's id; empty if a process of release 0.1 reserved the workspace."""
    request_id: str = ""
    replayed: bool = False
    """Whether an earlier request with this id reserved the workspace."""

    @property
    def follow_up(self) -> FollowUp:
        """Return what remains to be done after the reservation's commit."""
        return self.reserved.follow_up

    def error(self) -> BeingBuiltError:
        """Make the error that an interface raises once it has sent the follow-up."""
        name = self.reserved.name
        return BeingBuiltError(
            f"no prebuild of {self.presets} is ready: {name} is being built for {self.owner}",
            workspace=name,
            preset_id=self.reserved.preset_id,
            hint="watch its progress",
            remedy=Remedy(RemedyKind.FOLLOW_LOG, f"{self.owner}/{name}"),
        )
