"""Views of workspaces, builds and their output, as all faces show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from prebuild_tasks.insight.status.former_rows import FormerRow
from prebuild_tasks.json_views import fields_of
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.model.vocabulary import BuildStatus, WorkspaceState


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # FormerRow compares
class WorkspaceView(FormerRow):
    """One workspace that is not deleted."""

    workspace: str
    """The name of the workspace."""
    id: str
    owner: str
    """The person who claimed it or waits for it; `prebuilds` while it belongs to its pool."""
    preset: str
    """`template/preset`, with `@version` unless that is the active version."""
    state: WorkspaceState
    url: str
    """The address that the workspace serves; empty if it serves none."""
    directory: str
    """The directory of its files; empty if the provisioner has none."""
    resource_id: str
    """The provisioner's name for its resource; empty before it is made."""
    host: str
    """The host that a local workspace is bound to; empty if it is not local."""
    created_at: datetime
    claimed_at: datetime | None
    claimed_until: datetime | None
    """When its `claimed_ttl` ends; None: it has none."""
    ends_soon: bool
    """Whether `claimed_until` is near enough to warn the owner."""
    reason: str
    """Why the latest transition began, or failed; how a claimed workspace fails its probes, and the way out."""
    retry_at: datetime | None = None
    """When its failed deletion will be tried again; None: it has not failed."""

    def report(self) -> dict[str, str | bool | None]:
        """Return the workspace as JSON."""
        return cast("dict[str, str | bool | None]", fields_of(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildView:
    """One build."""

    build: str
    """The id of the build."""
    workspace: str
    """The name of the workspace it works on."""
    preset: PoolName
    transition: str
    """`start`, `stop` or `delete`; `claim` for the start that personalises a claimed workspace."""
    status: BuildStatus
    reason: str
    """Why it was requested."""
    initiator: str
    """Who requested it; for a canceled build, who canceled it."""
    attempt: int
    """How often it was started: more than once if a worker died."""
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    error_code: str
    error: str
    waits: str = ""
    """What a start that runs waits for until its workspace is ready; empty: it does not, or not for long."""

    @property
    def seconds(self) -> float | None:
        """How long it ran; None: it has not ended, or never started."""
        if self.completed_at is None or self.started_at is None:
            return None
        return (self.completed_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of the output of a build."""

    text: str
    cursor: tuple[int, int]
    """Attempt and sequence number of its last piece; the next page begins after it."""
    ended: bool
    """Whether no more output will come."""
    waits: str = ""
    """What the build waits for until its workspace is ready; empty: it does not, or not for long."""
