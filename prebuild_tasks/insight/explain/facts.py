"""All that explaining one pool rests on, read at one instant. `None` and empty mean: there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

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
class Standing:
    """What makes a preset active, or not."""

    template: str
    version: str
    active_version: str
    """Empty: none."""
    deprecated: bool = False
    template_deleted: bool = False
    removed: bool = False
    """The preset itself is no longer declared."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Who stopped it, why, since and until when."""

    by: str
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None
    everything: bool = False
    """Not this pool alone."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The limit that lets nothing more through."""

    limit: LimitReason
    used: int
    most: int
    organization: str = ""
    claimed: int = 0
    """Of `used`, for the quota of workspaces."""
    others: bool = False
    """What is left of it is the share of other pools, which have less."""


@dataclass(frozen=True, slots=True)
class BuildFact:
    """A build, as far as it explains something."""

    id: str
    created_at: datetime
    started_at: datetime | None = None
    """None: no runner has it yet."""
    attempt: int = 0
    error: str = ""
    error_code: str = ""

    @property
    def short(self) -> str:
        return self.id[:8]


@dataclass(frozen=True, slots=True)
class FailedDeletion:
    """A workspace that could not be deleted, and is tried again."""

    workspace: str
    build: str
    error: str
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class Unwell:
    """A prebuild whose last probe failed."""

    workspace: str
    failures: int
    message: str


@dataclass(frozen=True, slots=True)
class Processes:
    """Who is there to do the work."""

    workers: WorkerAvailability = field(default_factory=WorkerAvailability)
    unserved: tuple[str, ...] = ()
    """Queues of the control tasks that nobody consumes, by their full names."""
    builds_queue: str = "prebuild.builds"
    silent_hosts: tuple[str, ...] = ()
    """Hosts that alone can run builds which wait, deletions too, and that are not heard of."""
    worker_seen: timedelta | None = None
    """How long ago the last control worker was heard of; None: never."""
    builds_seen: timedelta | None = None
    tick_age: timedelta | None = None
    tick_interval: timedelta = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Facts:
    """One pool."""

    now: datetime
    ref: str
    counted: PresetCounts
    state: ReconciliationState
    missing: int
    """How many are to be created yet, by however many turns."""
    reason: Reason
    standing: Standing
    processes: Processes
    backoff_interval: timedelta
    turn: Quantities = field(default_factory=lambda: Quantities(0, 0, 0))
    """What its next turn does, when it comes and may."""
    stand_in: int = 0
    """Outdated prebuilds that go once they are replaced, and can be claimed as second choice until then."""
    surge: int | None = None
    """So many more than desired there may be, which holds a part of `missing` back; None: that does not."""
    cut_by: LimitReason | None = None
    """The limit that lets its next turn create only a part."""
    pause: Pause | None = None
    status: PresetStatus = PresetStatus.HEALTHY
    status_reason: str = ""
    lost_turns: int = 0
    """Turns in a row that ended with their process."""
    rests_until: datetime | None = None
    failures_in_row: int = 0
    hard_limit: int = 0
    last_error: str = ""
    budget: Budget | None = None
    in_flight: tuple[BuildFact, ...] = ()
    """Starts pending or running, oldest first."""
    failed: tuple[BuildFact, ...] = ()
    """Failed starts, newest first."""
    usual: timedelta | None = None
    """The median of the last starts that succeeded."""
    unwell: tuple[Unwell, ...] = ()
    failed_deletions: tuple[FailedDeletion, ...] = ()
    kept: int = 0
    """Failed prebuilds kept for study."""
    lock: Lock = field(default_factory=Lock)
