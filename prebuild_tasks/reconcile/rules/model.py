"""What a decision about a pool reads, and what it decides."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from prebuild_tasks.model.vocabulary import Preset


@dataclass(frozen=True, slots=True)
class Lock:
    """What Redis says of the pool: who has its turn right now, and how many messages wait."""

    holder: str = ""
    """Host and process; empty: nobody."""
    left: timedelta = timedelta()
    """Until the lock ends by itself."""
    waiting: Mapping[str, int] | None = None
    """Messages by queue."""
    unreachable: str = ""
    """Why Redis could not be asked; all else is from the database and stands."""


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
    """One preset's prebuilds, counted. This is what the tick's snapshot holds."""

    live: int = 0
    """Running and not expired."""
    expired: int = 0
    """Running and expired."""
    ready: int = 0
    """Running, not expired, readiness probe passed."""
    starting: int = 0
    """Start builds pending or running."""
    stopping: int = 0
    deleting: int = 0
    pending: int = 0
    """First start builds that no runner has taken yet; part of `starting`."""
    aging: int = 0
    """Live, past half of the TTL, where replacing is rolling: the replacement may be due."""


class ReconciliationState(NamedTuple):
    """The numbers a decision rests on."""

    actual: int = 0
    """Running prebuilds, expired ones too."""
    expired: int = 0
    desired: int = 0
    """What the preset should have right now; 0 while it is inactive."""
    eligible: int = 0
    """Ready and not expired: what a claim can take."""
    extraneous: int = 0
    """Running beyond desired."""
    starting: int = 0
    stopping: int = 0
    deleting: int = 0


@dataclass(frozen=True, slots=True)
class PresetSnapshot:
    """All that a decision for one preset needs."""

    preset: Preset
    running: tuple[RunningPrebuild, ...] = ()
    starting: int = 0
    stopping: int = 0
    deleting: int = 0
    pending: int = 0
    failures: RecentFailures | None = None


class PresetCounts(NamedTuple):
    """One preset as the tick sees it: declared and counted, no workspace rows."""

    preset: Preset
    counts: Counts
    failures: RecentFailures | None = None
    creation_blocked: bool = False
    """Hard-limited, validation failed or paused: a shortage is no reason to send a message."""
    last_reconciled_at: datetime | None = None
    organization_id: int = 0
    max_builds_in_flight: int | None = None
    """The preset's own limit on start builds in flight; None: no limit."""
    slow_start: int | None = None
    """The same after a failure; None: none was, or enough succeeded since."""
    ref: str = ""
    """Its name for people: `template/preset`, with `@version` unless that is the active one."""


@dataclass(frozen=True, slots=True)
class Usage:
    """An organization's limits, and how much of them is used."""

    name: str
    max_workspaces: int | None
    max_builds_in_flight: int | None
    workspaces: int
    """Workspaces whose resource may still exist."""
    builds_in_flight: int
    claimed: int = 0
    """Workspaces that are claimed; read for people only."""

    @property
    def is_limited(self) -> bool:
        return self.max_workspaces is not None or self.max_builds_in_flight is not None


@dataclass(frozen=True, slots=True)
class GlobalSnapshot:
    """What the tick needs: every preset that is desired or still has prebuilds, read in one transaction."""

    now: datetime
    presets: tuple[PresetCounts, ...] = ()
    paused: bool = False

    def refs(self, preset_ids: Collection[str]) -> dict[str, str]:
        """The names of these, by id, for people; nothing is looked for where there are none."""
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
    """The state of one preset and what is to be done about it, in order."""

    state: ReconciliationState
    actions: tuple[Action, ...] = field(default=())
    can_skip: bool = False
