"""Inputs and results of decisions about pools."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import Preset


@dataclass(frozen=True, slots=True)
class Lock:
    """A pool's lock and the queues, as read from Redis."""

    holder: str = ""
    """The host and process that hold the lock; empty: none."""
    left: timedelta = timedelta()
    """The time until the lock ends by itself."""
    waiting: Mapping[str, int] | None = None
    """The number of messages by queue; None: unknown."""
    unreachable: str = ""
    """The error, if Redis did not answer."""
    waited: timedelta | None = None
    """The time after which the answer was given up, so that Redis may only be slow; None: it came, or was refused."""


@dataclass(frozen=True, slots=True)
class RunningPrebuild:
    """A prebuild whose latest build is a succeeded start."""

    id: str
    created_at: datetime
    ready: bool


@dataclass(frozen=True, slots=True)
class RecentFailures:
    """Failed start builds within the look-back and since the last success."""

    num_failed: int
    last_build_at: datetime
    """When the newest of them was created."""


class Counts(NamedTuple):
    """The numbers of one preset's prebuilds, as in the tick's snapshot."""

    live: int = 0
    """Running and not expired."""
    expired: int = 0
    """Running and expired."""
    ready: int = 0
    """Running, not expired, and its readiness probe has passed."""
    starting: int = 0
    """Start builds pending or running."""
    stopping: int = 0
    deleting: int = 0
    pending: int = 0
    """First start builds that no runner has taken yet; part of `starting`."""
    aging: int = 0
    """Live and past half of the TTL, in a pool that replaces gradually: the replacement may be due."""

    def fullness(self, desired: int) -> float:
        """Return the part of the desired size that is ready; 1 if nothing is desired."""
        return self.ready / desired if desired else 1.0


class ReconciliationState(NamedTuple):
    """The numbers that a decision is based on."""

    actual: int = 0
    """Running prebuilds, including expired ones."""
    expired: int = 0
    desired: int = 0
    """The desired size right now; 0 while the preset is inactive."""
    eligible: int = 0
    """Ready prebuilds that have not expired: those that a claim can take."""
    extraneous: int = 0
    """Running prebuilds in excess of the desired size."""
    starting: int = 0
    stopping: int = 0
    deleting: int = 0


@dataclass(frozen=True, slots=True)
class PresetSnapshot:
    """Everything that the decision for one preset needs."""

    preset: Preset
    running: tuple[RunningPrebuild, ...] = ()
    starting: int = 0
    stopping: int = 0
    deleting: int = 0
    pending: int = 0
    failures: RecentFailures | None = None


class PresetCounts(NamedTuple):
    """One preset as the tick reads it: its declaration and its counts, without workspaces."""

    preset: Preset
    counts: Counts
    failures: RecentFailures | None = None
    creation_blocked: bool = False
    """Hard-limited or invalid: a shortage is not a reason to send a message."""
    last_reconciled_at: datetime | None = None
    organization_id: int = 0
    max_builds_in_flight: int | None = None
    """The preset's own limit on start builds in flight; None: no limit."""
    slow_start: int | None = None
    """The limit on start builds in flight after a failure; None: there was none, or enough builds succeeded since."""
    ref: PresetRef = PresetRef("", "")
    """The preset's name; the tick reads it always."""
    is_short: bool = False
    """Whether the latest event about the pool's size is that it is short."""


class Starts(NamedTuple):
    """A pool's start builds in flight."""

    in_flight: int = 0
    """All of them. They count for the pool's own limits."""
    held: int = 0
    """Those on hold, because their provisioner cannot be asked. They take nothing of a limit that pools share."""

    @property
    def sharing(self) -> int:
        """The number that counts for a limit that pools share."""
        return self.in_flight - self.held


@dataclass(frozen=True, slots=True)
class Usage:
    """An organization's limits, and how much of them is used."""

    name: str
    max_workspaces: int | None
    max_builds_in_flight: int | None
    workspaces: int
    """The number of workspaces whose resource may still exist."""
    builds_in_flight: int
    """The number of start builds in flight, without those on hold."""
    claimed: int = 0
    """The number of claimed workspaces; read only to be shown."""

    @property
    def is_limited(self) -> bool:
        return self.max_workspaces is not None or self.max_builds_in_flight is not None


@dataclass(frozen=True, slots=True)
class GlobalSnapshot:
    """Every preset that is active or still has prebuilds, read in one transaction for the tick."""

    now: datetime
    presets: tuple[PresetCounts, ...] = ()
    paused: bool = False

    def refs(self, preset_ids: Collection[str]) -> dict[str, PresetRef]:
        """Return the names of these presets by id."""
        wanted = set(preset_ids)
        return {item.preset.id: item.ref for item in self.presets if item.preset.id in wanted} if wanted else {}


@dataclass(frozen=True, slots=True)
class Create:
    """Create `count` prebuilds."""

    count: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete exactly these running prebuilds."""

    ids: tuple[str, ...]
    reason: str = ""
    """A reason code: expired, extraneous, inactive."""


@dataclass(frozen=True, slots=True)
class CancelPending:
    """Cancel `count` first start builds that no runner has taken yet."""

    count: int


@dataclass(frozen=True, slots=True)
class BackOff:
    """Create nothing until after this instant."""

    until: datetime


Action = Create | Delete | CancelPending | BackOff


@dataclass(frozen=True, slots=True)
class Decision:
    """The state of one preset, and the actions to take, in order."""

    state: ReconciliationState
    actions: tuple[Action, ...] = field(default=())
    can_skip: bool = False
    """Whether the preset is inactive and has nothing to do."""
