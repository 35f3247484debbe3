"""The facts that explain one pool, read at one instant.

`None` and empty values mean that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prebuild_tasks.builds import NotReady
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.reconcile import (
    LimitReason,
    Lock,
    PresetCounts,
    Quantities,
    Reason,
    ReconciliationState,
    WorkerAvailability,
)


@dataclass(frozen=True, slots=True)
class Activation:
    """The reasons why a preset is active or inactive."""

    template: str
    version: str
    active_version: str
    """Empty: the template has none."""
    deprecated: bool = False
    template_deleted: bool = False
    removed: bool = False
    """Whether the preset itself is no longer declared."""
    last_good: str = ""
    """The other version that was ready last and holds, if this one was never ready or fails soon; empty: none."""
    fails_soon: bool = False
    """Whether prebuilds of this version become unhealthy soon after they were ready, and none was there for longer."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of the pool, or of all pools."""

    by: str
    """Who paused it."""
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None
    """None: until somebody resumes it."""
    everything: bool = False
    """Whether all pools are paused, not this one alone."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The limit that allows no further creation at present."""

    limit: LimitReason
    used: int
    most: int
    organization: str = ""
    claimed: int = 0
    """How many of `used` are claimed; only for the quota of workspaces."""
    rest_is_shared: bool = False
    """Whether the rest of it is reserved for other pools, which have fewer."""


@dataclass(frozen=True, slots=True)
class BuildFact:
    """A start build, pending, running or failed."""

    id: str
    created_at: datetime
    started_at: datetime | None = None
    """None: it waits for a worker."""
    attempt: int = 0
    error: str = ""
    error_code: str = ""
    not_ready: NotReady | None = None
    """What it waits for until its workspace is ready; None: it does not, or not for long."""
    ready_timeout: timedelta = timedelta(minutes=5)
    """How long it may wait for that."""

    @property
    def short(self) -> str:
        """The first characters of the id, enough to name the build."""
        return self.id[:8]


def unready_of(in_flight: Sequence[BuildFact]) -> BuildFact | None:
    """Return the start that ran and has waited longest to become ready; None: none waits."""
    waiting = [(build.not_ready.since, build) for build in in_flight if build.not_ready is not None]
    return min(waiting, key=lambda item: item[0])[1] if waiting else None


def under_way_of(in_flight: Sequence[BuildFact]) -> BuildFact | None:
    """Return the start that a pool waits for: `unready_of`, or the first that runs; None: none runs."""
    return unready_of(in_flight) or next((build for build in in_flight if build.started_at is not None), None)


@dataclass(frozen=True, slots=True)
class FailedDeletion:
    """A workspace whose deletion failed and will be tried again."""

    workspace: str
    build: str
    error: str
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class FailedProbe:
    """A prebuild whose last probe failed."""

    workspace: str
    failures: int
    message: str


@dataclass(frozen=True, slots=True)
class Doubted:
    """The prebuilds of a pool of which it is not known whether they still are what they were."""

    unanswered: int = 0
    """Prebuilds whose last probe was not answered."""
    unanswered_since: datetime | None = None
    message: str = ""
    """What one of these probes said."""
    missing: int = 0
    """Prebuilds that their provisioner's list lacks."""
    gone: int = 0
    """Prebuilds that a probe found gone once, and that lists do not lack."""
    lost: int = 0
    """Prebuilds that were found to be lost, and wait until the pool may lose them."""
    waiting: int = 0
    """Missing prebuilds that wait for a confirmation, because no probe can tell."""
    unread_since: datetime | None = None
    """Time since which a list of the provisioner could not be read."""
    unread: str = ""
    """Why."""


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that do the work, and those that are missing."""

    workers: WorkerAvailability = field(default_factory=WorkerAvailability)
    unserved: tuple[str, ...] = ()
    """Full names of the queues of control tasks that no worker consumes."""
    builds_queue: str = "prebuild.builds"
    silent_hosts: tuple[str, ...] = ()
    """Hosts without a running builds worker that are the only ones able to run pending builds, deletions included."""
    silent_prebuilds: tuple[str, ...] = ()
    """Hosts without a running builds worker that have prebuilds which can be claimed."""
    worker_seen: timedelta | None = None
    """How long ago the last control worker was seen; None: never."""
    builds_seen: timedelta | None = None
    """How long ago the last builds worker was seen; None: never."""
    tick_age: timedelta | None = None
    """How long ago the last tick ended; None: none ever did."""
    tick_interval: timedelta = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about one pool at `now`."""

    now: datetime
    ref: PresetRef
    counted: PresetCounts
    state: ReconciliationState
    missing: int
    """How many prebuilds are still to be created, by this turn or later ones."""
    reason: Reason
    activation: Activation
    processes: Processes
    turn: Quantities = field(default_factory=lambda: Quantities(0, 0, 0))
    """What the next turn does, as soon as there is a worker for it."""
    second_choices: int = 0
    """Outdated prebuilds that can be claimed as second choice until they are replaced."""
    of_other_versions: int = 0
    """Prebuilds of the pool's other versions that can be claimed until they are replaced. 0 if it is not active."""
    surge: int | None = None
    """The `max_surge` that holds back a part of `missing`; None: it holds nothing back."""
    limited_by: LimitReason | None = None
    """The limit because of which the next turn creates only a part."""
    backs_off_until: datetime | None = None
    """The last instant at which the pool creates nothing because of failures; None: it does not wait."""
    pause: Pause | None = None
    status: PresetStatus = PresetStatus.HEALTHY
    status_reason: str = ""
    lost_turns: int = 0
    """Turns in a row that crashed their worker."""
    rests_until: datetime | None = None
    """Until when no turn is tried, after `lost_turns`."""
    failures_in_row: int = 0
    hard_limit: int = 0
    last_error: str = ""
    budget: Budget | None = None
    in_flight: tuple[BuildFact, ...] = ()
    """Start builds that are pending or running, oldest first."""
    failed: tuple[BuildFact, ...] = ()
    """Failed start builds, newest first."""
    usual: timedelta | None = None
    """The median duration of the last start builds that succeeded."""
    failed_probes: tuple[FailedProbe, ...] = ()
    doubted: Doubted = field(default_factory=Doubted)
    failed_deletions: tuple[FailedDeletion, ...] = ()
    failed_kept: int = 0
    """Failed prebuilds kept for diagnosis."""
    holding: tuple[str, ...] = ()
    """Failed workspaces, and those that could not be deleted, of the organization, while its quota is full."""
    lock: Lock = field(default_factory=Lock)

    @property
    def unready(self) -> BuildFact | None:
        """The start that ran and has waited longest to become ready; None: none waits."""
        return unready_of(self.in_flight)

    @property
    def under_way(self) -> BuildFact | None:
        """The start that the pool waits for: `unready`, or the first that runs; None: none runs."""
        return under_way_of(self.in_flight)
