"""Gradual replacement: which prebuilds are outdated or due, and what versions of a pool must know of each other.

A prebuild that is merely outdated (invalidated, or of an older version) stays claimable as second choice until its
replacement is ready; one past its TTL never does, so its replacement begins ahead of the expiry. While it replaces, a
pool holds up to `max_surge` more than desired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from prebuild_tasks.model.vocabulary import Preset, PresetStatus
from prebuild_tasks.reconcile.rules.model import Counts, RecentFailures, RunningPrebuild
from prebuild_tasks.reconcile.rules.state import desired_now, is_expired, is_past_ttl


@dataclass(frozen=True, slots=True)
class Rolling:
    """How an active pool replaces what it holds."""

    max_surge: int
    """How many more than desired there may be meanwhile; at least 1."""
    lead: timedelta
    """The longest that one replacement takes until it is ready."""


class Outdated(NamedTuple):
    """What of a version's running prebuilds is replaced gradually."""

    second_choices: int = 0
    """Outdated prebuilds that a claim may still take."""
    due: int = 0
    """Prebuilds whose replacement must begin now to be ready before their TTL ends."""


_NOTHING_OUTDATED = Outdated()


@dataclass(frozen=True, slots=True)
class Successor:
    """The active pool that replaces an older version's, as far as the older one must know it."""

    desired: int
    eligible: int
    """Ready ones of the successor, and second choices of versions between the two."""


@dataclass(frozen=True, slots=True)
class OtherVersions:
    """What a version's turn must know of its preset in other versions of the template."""

    second_choices: int = 0
    """Prebuilds of older versions that a claim of the active one still gets."""
    successor: Successor | None = None
    """What replaces an older version gradually; None: nothing does, so all of it goes at once."""
    preset_ids: tuple[int, ...] = ()
    """Whom a move here lets go on: older versions that hold prebuilds, or the successor.

    A ready replacement lets an old prebuild go, whose going makes room for the next replacement.
    """


ALONE = OtherVersions()


class PoolVersion(NamedTuple):
    """A pool's preset in one version: its prebuilds counted, and what can hold its turn back."""

    preset: Preset
    counts: Counts
    rolling: Rolling | None = None
    """How it replaces prebuilds gradually while it is the active version; None: all at once."""
    outdated: Outdated = _NOTHING_OUTDATED
    """From rows. Counts alone leave it empty, which is exact unless the pool `is_replacing`."""
    failures: RecentFailures | None = None
    backoff_interval: timedelta = timedelta()
    """Added to the wait by each of the recent failures."""
    failures_in_row: int = 0
    hard_limit: int = 0
    """After so many failures in a row creation stops until the pool is unblocked; 0: never."""
    status: PresetStatus = PresetStatus.HEALTHY
    paused: bool = False
    """By itself or with everything."""
    rests_until: datetime | None = None
    """No turn before this instant, because the last ones crashed their worker."""

    def with_rows(self, running: Sequence[RunningPrebuild], now: datetime) -> PoolVersion:
        """Return this version with its running prebuilds looked at."""
        return self._replace(outdated=outdated(self.preset, running, self.rolling, now))

    def is_suspended(self, now: datetime) -> bool:
        """Whether the pool gets no turn at all."""
        return self.paused or (self.rests_until is not None and now < self.rests_until)


def outdated(preset: Preset, running: Sequence[RunningPrebuild], rolling: Rolling | None, now: datetime) -> Outdated:
    """Count what of these prebuilds is replaced gradually."""
    if not preset.active:
        return Outdated(sum(_stands_in(preset, item, now) for item in running))
    if rolling is None:
        return _NOTHING_OUTDATED
    live: list[RunningPrebuild] = []
    second_choices = 0
    for item in running:
        if is_expired(preset, item.created_at, now):
            second_choices += _stands_in(preset, item, now)
        else:
            live.append(item)
    return Outdated(second_choices, len(due_for_replacement(preset, live, rolling, now)))


def due_for_replacement(
    preset: Preset, live: Sequence[RunningPrebuild], rolling: Rolling, now: datetime
) -> list[RunningPrebuild]:
    """Return those whose replacement must begin now, to be ready before the TTL ends.

    Replacements come `max_surge` at a time, so the first of many that expire together begins that much earlier; but
    nothing is replaced in the first half of its life.
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
        due = [item for item in batch if now >= max(latest, item.created_at + ttl / 2)] + due
    return due


def is_replacing(versions: Sequence[PoolVersion]) -> bool:
    """Whether counts do not tell what these versions of one pool want, so that their rows must be read."""
    active = _replacing(versions)
    if active is None:
        return False
    older = any(item.counts.live + item.counts.expired for item in versions if item is not active)
    return bool(older or active.counts.expired or active.counts.aging)


def other_versions(versions: Sequence[PoolVersion], now: datetime) -> Mapping[str, OtherVersions]:
    """Return, by preset, what each version of one pool must know of the others."""
    active = _replacing(versions)
    if active is None:
        return {item.preset.id: ALONE for item in versions}
    found: dict[str, OtherVersions] = {}
    desired, eligible, second_choices = desired_now(active.preset, now), active.counts.ready, 0
    # A newer version has a higher id; its prebuilds are the better second choice, so they stay longer.
    for item in sorted(versions, key=lambda one: int(one.preset.id), reverse=True):
        if item is not active:
            found[item.preset.id] = OtherVersions(successor=Successor(desired, eligible + second_choices))
            second_choices += item.outdated.second_choices
    found[active.preset.id] = OtherVersions(second_choices)
    return found


def _replacing(versions: Sequence[PoolVersion]) -> PoolVersion | None:
    """Return the active version if it replaces the others gradually."""
    return next((item for item in versions if item.preset.active and item.rolling), None)


def missing(desired: int, eligible: int) -> int:
    """Return how many eligible prebuilds a pool lacks."""
    return max(desired - eligible, 0)


def _stands_in(preset: Preset, item: RunningPrebuild, now: datetime) -> bool:
    """Whether a claim may still take an outdated prebuild."""
    return item.ready and not is_past_ttl(preset, item.created_at, now)
