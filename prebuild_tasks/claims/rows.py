"""Rows that a claim reads from the database. A client of the HTTP API does without them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus, RequestState, Transition

if TYPE_CHECKING:
    from prebuild_tasks.schema.pauses import StoredPause


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
