"""The outcomes of sweeps, probes and retention: as they are reported, and with the follow-up that is left to send."""

from __future__ import annotations

from dataclasses import dataclass, field

from prebuild_tasks.model.records import combined, part_of
from prebuild_tasks.workspaces import FollowUp


@dataclass(frozen=True, slots=True)
class Pruned:
    """The numbers of deleted rows."""

    logs: int = 0
    """Builds whose output was deleted."""
    builds: int = 0
    workspaces: int = 0
    events: int = 0
    presets: int = 0
    recipes: int = 0
    """Versions and templates that were deleted."""

    def __or__(self, other: Pruned) -> Pruned:
        """Add two up."""
        return combined(self, other)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """The outcome of a sweep, as Flower shows it."""

    retaken: int = 0
    """Builds set back to pending, because their worker died."""
    ended: int = 0
    """Builds that lost their worker too often, or while they were being canceled."""
    republished: int = 0
    """Pending builds for which the follow-up holds a message, because theirs may have been lost or was never sent."""
    retried: int = 0
    """Failed deletions and claim hooks that are tried again."""
    cleaned: int = 0
    """Failed, stopped and canceled prebuilds, and claimed workspaces past their `claimed_ttl`, whose deletion has
    begun."""
    replaced: int = 0
    """Lost prebuilds whose deletion has begun, because their pools may lose them by now."""
    given_up: int = 0
    """Workspaces of lost hosts whose deletion has begun."""
    uncollected: int = 0
    """Workspaces that went back to their pools, because nobody came for them in time."""
    pruned: Pruned = field(default_factory=Pruned)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult(SweepReport):
    """The outcome of a sweep or of a part of it, and what it leaves to do. `|` adds two outcomes."""

    follow_up: FollowUp

    def __or__(self, other: SweepResult) -> SweepResult:
        """Add two results up."""
        return combined(self, other)

    def report(self) -> SweepReport:
        """Return the outcome without the follow-up."""
        return part_of(self, SweepReport)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayReport:
    """The outcome of a sweep of resources, as Flower shows it."""

    resources: int = 0
    """Listed resources."""
    unknown: int = 0
    """Strays."""
    claimed: int = 0
    """Strays with a claim marker: reported, never destroyed."""
    waiting: int = 0
    """Strays that wait for a confirmation."""
    destroyed: int = 0
    forgotten: int = 0
    """Prebuilds whose resource carries the marker of a claim that this database does not know."""
    missing: int = 0
    """Prebuilds that their provisioner does not list."""
    vanished: int = 0
    """Prebuilds whose deletion has begun, because they are not listed and their own probes found them gone, too."""
    problems: tuple[str, ...] = ()
    """Errors of provisioners. What could not be listed is left as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayResult(StrayReport):
    """The outcome of a sweep of resources or of a part of it, and what it leaves to do. `|` adds two outcomes."""

    follow_up: FollowUp
    """Deletions of vanished prebuilds, and turns of the pools that lost prebuilds."""

    def __or__(self, other: StrayResult) -> StrayResult:
        """Add two results up."""
        return combined(self, other)

    def report(self) -> StrayReport:
        """Return the outcome without the follow-up."""
        return part_of(self, StrayReport)


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """The outcome of a run of probes, as Flower shows it."""

    probed: int = 0
    failing: int = 0
    unknown: int = 0
    """Prebuilds whose provisioner could not be asked."""
    replaced: int = 0


@dataclass(frozen=True, slots=True)
class HealthResult(ProbeReport):
    """The outcome of a run of probes or of a part of it, and what it leaves to do. `|` adds two outcomes."""

    follow_up: FollowUp = field(kw_only=True)
    """Deletions of the replaced prebuilds, and turns of their pools."""

    def __or__(self, other: HealthResult) -> HealthResult:
        """Add two results up."""
        return combined(self, other)

    def report(self) -> ProbeReport:
        """Return the outcome without the follow-up."""
        return part_of(self, ProbeReport)


@dataclass(frozen=True, slots=True)
class Asked:
    """The outcome of asking the hosts to do what only they can do."""

    asked: int
    """The number of messages that were sent, one a host."""
