"""Requests for workspaces, and the answers to them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, cast

from prebuild_tasks.errors import BeingBuiltError
from prebuild_tasks.json_views import result_of
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import (
    LOCAL_PRINCIPAL,
    BuildStatus,
    ClaimState,
    PresetStatus,
    RequestState,
    Transition,
)
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.workspaces import FollowUp

if TYPE_CHECKING:
    from prebuild_tasks.model.json_values import JsonValue
    from prebuild_tasks.schema.pauses import StoredPause


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedRow:
    """A claimed workspace as read from the database: the columns of `store.ANSWER_COLUMNS`."""

    id: str
    name: str
    owner: str
    url: str
    directory: str
    resource_id: str
    claimed_at: datetime
    claimed_until: datetime | None
    status: BuildStatus
    """The status of its latest build, whose number is `build_number`."""
    reason: str
    preset_id: int
    build_number: int
    organization_id: int
    host: str
    is_served: bool
    """Whether a builds worker is alive that can reach it."""
    failures: int = 0
    """The number of probes in a row that failed; read only when a request is repeated."""
    probe_message: str = ""
    """What the last of them said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How the workspace of a request ended."""

    workspace: str
    """Its name; empty if its row is no longer kept."""
    gone: bool
    """Whether it is deleted; else it is being deleted."""
    at: datetime | None
    """When its end began. None: it is no longer known."""
    by: str
    reason: str
    """The code of the reason."""
    by_command: bool = False
    """Whether a person ended it by a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedWorkspace:
    """The workspace that an earlier request got, as read from the database."""

    name: str
    preset_id: int
    ref: PresetRef
    transition: Transition
    status: BuildStatus
    """The status of its latest build, which has this transition."""
    reason: str
    deleted: bool
    claimed: ClaimedRow | None
    """None: it was being built for the claimant, and has not been handed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedRow:
    """What an earlier request got."""

    id: str
    """The claim's id; empty if a process of release 0.1 answered the request."""
    principal: str
    request_id: str
    owner: str
    """The owner who made the request."""
    body_digest: str | None
    """The digest of what it asked for. None: unknown, so that any body is taken for the same."""
    state: RequestState
    ended_at: datetime | None
    """When the wait for the workspace was ended. None: it was not."""
    ended_by: str
    workspace_id: str
    workspace: RequestedWorkspace | None
    """None: its row is no longer kept."""


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


@dataclass(frozen=True, slots=True)
class Pool:
    """A preset that a claim may take from."""

    id: int
    ref: PresetRef
    organization_id: int
    claimed_ttl: float | None
    """Seconds."""
    hook: bool
    """Whether the recipe personalises claimed workspaces."""
    max_per_owner: int | None
    max_builds_in_flight: int | None
    recipe_digest: str
    status: PresetStatus
    status_reason: str
    paused: StoredPause | None
    active: bool
    deleted: bool
    rolling: bool
    """Whether prebuilds are replaced gradually."""
    outdated: bool = False
    """Whether the pool is a second choice: invalidated prebuilds can then be claimed, too, unless past their TTL."""


@dataclass(frozen=True, slots=True)
class PauseInForce:
    """The pause that keeps a pool from building."""

    stored: StoredPause
    pool: str
    """The paused pool; empty: everything is paused."""

    @property
    def sentence(self) -> str:
        """The pause as a part of a sentence: who paused what, until when and why."""
        until, why = self.stored.get("until"), self.stored.get("reason")
        what = f"{self.pool or 'everything'} is paused by {self.stored.get('by', 'somebody')}"
        return what + (f" until {until}" if until else "") + (f": {why}" if why else "")


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
