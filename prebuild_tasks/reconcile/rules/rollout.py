"""Gradual replacement: which prebuilds are outdated or due, and what versions of a pool must know of each other.

A prebuild that is merely outdated (invalidated, or of an older version) stays claimable as second choice until its
replacement is ready; one past its TTL never does, so its replacement begins ahead of the expiry. While it replaces, a
pool holds up to `max_surge` more than desired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile.rules.model import RunningPrebuild
from prebuild_tasks.reconcile.rules.state import is_expired, is_past_ttl


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


NOTHING_OUTDATED = Outdated()


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


def outdated(preset: Preset, running: Sequence[RunningPrebuild], rolling: Rolling | None, now: datetime) -> Outdated:
    """Count what of these prebuilds is replaced gradually."""
    if not preset.active:
        return Outdated(sum(_stands_in(preset, item, now) for item in running))
    if rolling is None:
        return NOTHING_OUTDATED
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


def missing(desired: int, eligible: int) -> int:
    """Return how many eligible prebuilds a pool lacks."""
    return max(desired - eligible, 0)


def _stands_in(preset: Preset, item: RunningPrebuild, now: datetime) -> bool:
    """Whether a claim may still take an outdated prebuild."""
    return item.ready and not is_past_ttl(preset, item.created_at, now)
