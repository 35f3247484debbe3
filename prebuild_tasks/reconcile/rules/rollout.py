"""Gradual replacement of outdated prebuilds, and the versions of a pool that take part in it.

A prebuild that is invalidated or of an older version stays claimable as second choice until its replacement is ready.
One that is past its TTL does not, so its replacement begins before the expiry. Meanwhile a pool may hold up to
`max_surge` more prebuilds than desired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from prebuild_tasks.model.vocabulary import Preset, PresetStatus
from prebuild_tasks.reconcile.rules.model import Counts, PresetCounts, RecentFailures, RunningPrebuild
from prebuild_tasks.reconcile.rules.state import desired_now, is_expired, is_past_half_ttl, is_past_ttl
from prebuild_tasks.schema.rules import is_active


@dataclass(frozen=True, slots=True)
class Rolling:
    """The settings of an active pool's gradual replacement."""

    max_surge: int
    """The number of prebuilds beyond the desired size while some are replaced; at least 1."""
    lead: timedelta
    """The longest time until one replacement is ready."""


class Outdated(NamedTuple):
    """The numbers of a version's running prebuilds that are replaced gradually."""

    second_choices: int = 0
    """Outdated prebuilds that can still be claimed."""
    due: int = 0
    """Prebuilds whose replacement must begin now to be ready before their TTL ends."""


_NOTHING_OUTDATED = Outdated()


@dataclass(frozen=True, slots=True)
class Successor:
    """The active version of a pool, which replaces an older one."""

    desired: int
    eligible: int
    """Its ready prebuilds, and the second choices of versions between the two."""

    @classmethod
    def of(cls, preset_id: int, desired: int, eligible: int, second_choices: Mapping[int, int]) -> Successor:
        """Make the successor of one version out of the active version's numbers.

        Args:
            preset_id: The preset of the version that is replaced.
            desired: The desired size of the active version.
            eligible: Its ready prebuilds.
            second_choices: Those of every version that it replaces, by preset.
        """
        # A newer version has a higher id. Its prebuilds are the better second choices, so they stay longer.
        between = sum(number for other, number in second_choices.items() if other > preset_id)
        return cls(desired, eligible + between)

    def keeps(self, second_choices: int) -> int:
        """Return how many second choices of the version that is replaced stay."""
        return kept_second_choices(second_choices, self.desired, self.eligible)


@dataclass(frozen=True, slots=True)
class OtherVersions:
    """The other versions of a pool, as far as the turn of one of its versions depends on them."""

    second_choices: int = 0
    """Prebuilds of older versions that a claim of the active one may take."""
    successor: Successor | None = None
    """The version that replaces an older one gradually; None: there is none, so all prebuilds are deleted at once."""
    preset_ids: tuple[int, ...] = ()
    """Presets that can proceed after this version's turn: older versions with prebuilds, or the successor.

    A ready replacement allows the deletion of an old prebuild, which makes room for the next replacement.
    """


ALONE = OtherVersions()


class StoredPool(Protocol):
    """A pool as the store reads it: alone for its turn, or with all others for people. The fields of `PoolVersion`."""

    @property
    def preset(self) -> Preset: ...
    @property
    def counts(self) -> Counts: ...
    @property
    def rolling(self) -> Rolling | None: ...
    @property
    def failures(self) -> RecentFailures | None: ...
    @property
    def failures_in_row(self) -> int: ...
    @property
    def status(self) -> PresetStatus: ...
    @property
    def is_paused(self) -> bool: ...
    @property
    def rests_until(self) -> datetime | None: ...


class PoolVersion(NamedTuple):
    """One version of a pool: its preset, the counts of its prebuilds, and what can delay its turn."""

    preset: Preset
    counts: Counts
    rolling: Rolling | None = None
    """The settings of gradual replacement by the active version; None: all prebuilds are replaced at once."""
    outdated: Outdated = _NOTHING_OUTDATED
    """Computed by `with_rows`. A version made from counts has none, which is exact unless its pool `is_replacing`."""
    failures: RecentFailures | None = None
    backoff_interval: timedelta = timedelta()
    """The wait that each recent failure adds."""
    failures_in_row: int = 0
    hard_limit: int = 0
    """The number of failures in a row after which creation stops until the pool is unblocked; 0: never."""
    status: PresetStatus = PresetStatus.HEALTHY
    paused: bool = False
    """Whether the preset or the installation is paused."""
    rests_until: datetime | None = None
    """The pool gets no turn before this instant, because the last ones crashed their worker; None: it may get one."""

    @classmethod
    def of(cls, item: PresetCounts, backoff_interval: timedelta) -> PoolVersion:
        """Make one from what the tick reads, which does not tell how the pool replaces."""
        # Every status but HEALTHY prevents creation alike.
        status = PresetStatus.HARD_LIMITED if item.creation_blocked else PresetStatus.HEALTHY
        failures = item.failures
        return cls(item.preset, item.counts, failures=failures, backoff_interval=backoff_interval, status=status)

    @classmethod
    def of_stored(cls, pool: StoredPool, backoff_interval: timedelta, hard_limit: int) -> PoolVersion:
        """Make one from what a turn or a person's question reads, without the rows of its prebuilds."""
        return cls(
            preset=pool.preset,
            counts=pool.counts,
            rolling=pool.rolling,
            failures=pool.failures,
            backoff_interval=backoff_interval,
            failures_in_row=pool.failures_in_row,
            hard_limit=hard_limit,
            status=pool.status,
            paused=pool.is_paused,
            rests_until=pool.rests_until,
        )

    def with_rows(self, running: Sequence[RunningPrebuild], now: datetime) -> PoolVersion:
        """Return this version with `outdated` computed from its running prebuilds."""
        return self._replace(outdated=outdated(self.preset, running, self.rolling, now))

    def gets_no_turn(self, now: datetime) -> bool:
        """Return whether the pool gets no turn at all."""
        return self.paused or (self.rests_until is not None and now < self.rests_until)


def outdated(preset: Preset, running: Sequence[RunningPrebuild], rolling: Rolling | None, now: datetime) -> Outdated:
    """Count the prebuilds that are replaced gradually."""
    if not is_active(preset):
        return Outdated(sum(is_second_choice(preset, item, now) for item in running))
    if rolling is None:
        return _NOTHING_OUTDATED
    live: list[RunningPrebuild] = []
    second_choices = 0
    for item in running:
        if is_expired(preset, item.created_at, now):
            second_choices += is_second_choice(preset, item, now)
        else:
            live.append(item)
    return Outdated(second_choices, len(due_for_replacement(preset, live, rolling, now)))


def due_for_replacement(
    preset: Preset, live: Sequence[RunningPrebuild], rolling: Rolling, now: datetime
) -> list[RunningPrebuild]:
    """Return the prebuilds whose replacement must begin now to be ready before their TTL ends.

    Only `max_surge` are replaced at a time, so if many expire together, the first replacements begin earlier. No
    prebuild is replaced in the first half of its TTL.
    """
    ttl = preset.ttl
    if ttl is None or ttl <= timedelta():
        return []
    oldest = sorted(live, key=lambda item: (item.created_at, item.id))
    at_once = max(rolling.max_surge, 1)
    due: list[RunningPrebuild] = []
    latest: datetime | None = None
    for start in reversed(range(0, len(oldest), at_once)):
        batch = oldest[start : start + at_once]
        expires = batch[0].created_at + ttl
        latest = (expires if latest is None else min(expires, latest)) - rolling.lead
        due = [item for item in batch if now >= latest and is_past_half_ttl(preset, item.created_at, now)] + due
    return due


def is_replacing(versions: Sequence[PoolVersion]) -> bool:
    """Return whether the rows of these versions of one pool must be read, because counts do not tell what they want."""
    active = _replacing(versions)
    if active is None:
        return False
    older = any(item.counts.live + item.counts.expired for item in versions if item is not active)
    return bool(older or active.counts.expired or active.counts.aging)


def other_versions(versions: Sequence[PoolVersion], now: datetime) -> Mapping[str, OtherVersions]:
    """Return the other versions of each version of one pool, by preset."""
    active = _replacing(versions)
    if active is None:
        return {item.preset.id: ALONE for item in versions}
    desired, eligible = desired_now(active.preset, now), active.counts.ready
    older = {int(item.preset.id): item.outdated.second_choices for item in versions if item is not active}
    others = {
        str(preset_id): OtherVersions(successor=Successor.of(preset_id, desired, eligible, older))
        for preset_id in older
    }
    others[active.preset.id] = OtherVersions(sum(older.values()))
    return others


def _replacing(versions: Sequence[PoolVersion]) -> PoolVersion | None:
    """Return the active version if it replaces the others gradually."""
    return next((item for item in versions if is_active(item.preset) and item.rolling), None)


def missing(desired: int, eligible: int) -> int:
    """Return how many eligible prebuilds a pool lacks."""
    return max(desired - eligible, 0)


def kept_second_choices(second_choices: int, desired: int, eligible: int) -> int:
    """Return how many second choices stay, the newest first: as many as lack a ready replacement."""
    return min(second_choices, missing(desired, eligible))


def is_second_choice(preset: Preset, item: RunningPrebuild, now: datetime) -> bool:
    """Return whether an outdated prebuild can still be claimed."""
    return item.ready and not is_past_ttl(preset, item.created_at, now)
