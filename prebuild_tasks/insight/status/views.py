"""Views of pools, workspaces, builds and their output, as all faces show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from prebuild_tasks.insight.status.former_rows import FormerRow
from prebuild_tasks.insight.status.rules import PoolProblem
from prebuild_tasks.json_views import fields_of
from prebuild_tasks.model.names import PoolName, PresetRef
from prebuild_tasks.model.text import number, span
from prebuild_tasks.model.vocabulary import BuildStatus, WorkspaceState
from prebuild_tasks.reconcile import Reason

if TYPE_CHECKING:
    from prebuild_tasks.model.json_values import JsonValue


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

    def to_json(self) -> dict[str, JsonValue]:
        """Return the workspace as JSON, with the keys of `prebuild workspaces --json`."""
        return fields_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAvailability:
    """How many prebuilds of a preset can be claimed at the moment."""

    preset: str
    """`template/preset`, with `@version` unless that is the active version."""
    available: int
    """The prebuilds that can be claimed: the eligible ones and, with gradual replacement, outdated ones."""
    eligible: int
    """The ready prebuilds that count for the desired size."""
    desired: int
    """The desired size at present."""
    starting: int
    """The prebuilds that are being built. A claim that waits gets one of them."""
    paused: bool
    """Whether no prebuild is built until the pause ends; claims go on."""
    reason: str
    """The code of the reason why fewer are eligible than desired; `none` if no prebuild is missing."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the availability as JSON."""
        return fields_of(self)


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


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """One pool, as in a line of `prebuild status`."""

    preset: PresetRef
    desired: int
    eligible: int
    starting: int
    deleting: int
    failed: int
    failed_deletions: int
    reason: str
    """The value of the `Reason` why it is short; `none` when it is not."""
    next_action: str
    last_error: str
    second_choices: int = 0
    """Outdated prebuilds that can be claimed until they are replaced."""
    claimed: int = 0
    """Claimed workspaces, over all versions; of a version that is not active, only its own."""

    @property
    def superseded(self) -> bool:
        """Whether it is not the pool's active version: it only keeps the prebuilds that are left."""
        return self.reason == Reason.INACTIVE

    @property
    def full(self) -> bool:
        """Whether as many prebuilds are eligible as are desired."""
        return self.eligible >= self.desired


@dataclass(frozen=True, slots=True)
class PoolCheck:
    """A pool, and why it needs attention."""

    pool: PoolStatus
    problems: tuple[PoolProblem, ...] = ()
    """Empty: it needs none."""
    overdue: int = 0
    """Places that have been empty for longer than `patience`."""
    patience: timedelta = timedelta()
    """How long a place may be empty."""
    claimable: int = 0
    """The prebuilds that can be claimed: the eligible ones, and outdated ones of any version of the pool."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing can be claimed from it although it has been wanted for long enough."""
        return bool(self.overdue) and not self.claimable

    @property
    def tolerated(self) -> str:
        """How short it is, and why that needs no attention yet; empty if it is full, or needs attention."""
        pool = self.pool
        if self.problems or pool.full or pool.superseded:
            return ""
        outdated = self.claimable - pool.eligible
        others = f", {outdated} outdated can be claimed" if outdated else ""
        waits = f", within the {span(self.patience)} that it gets to fill" if self.claimable < pool.desired else ""
        return f"{pool.eligible} of {pool.desired} eligible{others}{waits}"

    @property
    def sentence(self) -> str:
        """What is wrong, in words; empty if nothing is."""
        return ", ".join(self._words(problem) for problem in self.problems)

    def _words(self, problem: PoolProblem) -> str:
        match problem:
            case PoolProblem.SHORT:
                what = "empty" if self.is_empty else f"{self.overdue} short"
                return f"{what} for more than {span(self.patience)}" if self.patience else what
            case PoolProblem.DELETIONS_FAIL:
                return f"{number(self.pool.failed_deletions, 'deletion')} failed"
            case _:
                return problem.value.replace("_", " ")
