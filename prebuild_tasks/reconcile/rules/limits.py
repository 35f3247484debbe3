"""Limits on creation, shares of limits that pools have in common, and slots for new prebuilds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from prebuild_tasks.reconcile.rules.backoff import backoff_until
from prebuild_tasks.reconcile.rules.model import PresetCounts, Usage
from prebuild_tasks.reconcile.rules.state import desired_now
from prebuild_tasks.reconcile.rules.wants import quantities


class LimitReason(StrEnum):
    """Which limit cut a creation."""

    SLOW_START = "slow_start"
    PRESET_BUILDS = "preset_builds_in_flight"
    ORGANIZATION_BUILDS = "organization_builds_in_flight"
    GLOBAL_BUILDS = "global_builds_in_flight"
    QUOTA = "organization_quota"


class Limit(NamedTuple):
    """A limit, and how much of it is used."""

    reason: LimitReason
    most: int | None
    """None: there is no such limit; 0 lets nothing through."""
    used: int


class Grant(NamedTuple):
    """How many prebuilds may be created."""

    number: int
    limit: Limit | None = None
    """The limit that holds back the rest; None: none does."""
    is_share: bool = False
    """What is left of the limit is the share of other pools, which have less."""
    left_for: tuple[int, ...] = ()
    """Those pools: they can go on, and nobody else would wake them before the next tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What limits the creations of one pool's turn."""

    in_flight: int
    """Start builds in flight of the pool."""
    max_in_flight: int | None
    slow_start: int | None
    """So many may be in flight at once after a failure; None: no failure, or enough succeeded since."""
    organization: Usage
    everywhere: int
    """Start builds in flight of all pools."""
    max_everywhere: int
    """0: no such limit."""
    shared: tuple[SharedLimit, ...] = ()
    """The limits that the pool has in common with others, divided."""

    @property
    def each(self) -> tuple[Limit, ...]:
        """Return every limit; of equally narrow ones the first is named."""
        usage = self.organization
        return (
            Limit(LimitReason.SLOW_START, self.slow_start, self.in_flight),
            Limit(LimitReason.PRESET_BUILDS, self.max_in_flight, self.in_flight),
            Limit(LimitReason.ORGANIZATION_BUILDS, usage.max_builds_in_flight, usage.builds_in_flight),
            Limit(LimitReason.GLOBAL_BUILDS, self.max_everywhere or None, self.everywhere),
            Limit(LimitReason.QUOTA, usage.max_workspaces, usage.workspaces),
        )

    def grant(self, preset_id: str, wanted: int) -> Grant:
        """Cut what a pool wants to the narrowest limit, and to its share of those that it shares."""
        granted = Grant(max(wanted, 0))
        for limit in self.each:
            if limit.most is not None and (room := max(limit.most - limit.used, 0)) < granted.number:
                granted = Grant(room, limit)
        if not granted.number:
            return granted
        shares = [(item.allowance(preset_id, granted.number), item) for item in self.shared if preset_id in item.shares]
        allowed, narrowest = min(shares, key=lambda share: share[0], default=(granted.number, None))
        if narrowest is None or allowed >= granted.number:
            return granted
        limit = next(limit for limit in self.each if limit.reason is narrowest.reason)
        return Grant(allowed, limit, is_share=True, left_for=narrowest.waiting(preset_id)[: granted.number - allowed])


def fair_share(wants: Mapping[str, int], limit: int) -> dict[str, int]:
    """Divide a limit: who wants little gets all of it, the others get equally much of what is left.

    What does not divide goes one each to those that come first in `wants`, so give the most urgent first.
    """
    left = max(limit, 0)
    short = dict.fromkeys(wants)
    shares: dict[str, int] = dict.fromkeys(wants, 0)
    for name in sorted(wants, key=lambda name: wants[name]):
        want = max(wants[name], 0)
        if want * len(short) > left:
            break
        shares[name] = want
        left -= want
        del short[name]
    for position, name in enumerate(short):
        level, extra = divmod(left, len(short))
        shares[name] = level + (position < extra)
    return shares


@dataclass(frozen=True, slots=True)
class Contender:
    """A pool that shares a limit: what it has in flight, and what it would create if it were alone."""

    preset_id: str
    in_flight: int
    wants: int
    fullness: float = 0.0
    """Eligible / desired; what does not divide goes to the emptiest."""
    organization_id: int = 0


def contender(item: PresetCounts, in_flight: int, now: datetime, backoff_interval: timedelta) -> Contender:
    """Return what a pool would create within its own limits."""
    desired = desired_now(item.preset, now)
    wanted = quantities(item.preset, item.counts, desired).create
    if backoff_until(item.failures, backoff_interval, now):
        wanted = 0
    for limit in (item.max_builds_in_flight, item.slow_start):
        if limit is not None:
            wanted = min(wanted, max(limit - in_flight, 0))
    fullness = item.counts.ready / desired if desired else 1.0
    return Contender(item.preset.id, in_flight, wanted, fullness, item.organization_id)


@dataclass(frozen=True, slots=True)
class SharedLimit:
    """A limit divided among the pools that share it, once for all of them."""

    reason: LimitReason
    limit: int
    contenders: Mapping[str, Contender]
    shares: Mapping[str, int]
    """By preset, how many builds it may have in flight."""

    @classmethod
    def divided(cls, reason: LimitReason, limit: int, contenders: Collection[Contender]) -> SharedLimit:
        """Divide a limit so that builds in flight come out equal where not all wants fit under it."""
        by_need = sorted(contenders, key=lambda item: (item.fullness, item.preset_id))
        shares = fair_share({item.preset_id: item.in_flight + item.wants for item in by_need}, limit)
        return cls(reason, limit, {item.preset_id: item for item in contenders}, shares)

    def allowance(self, preset_id: str, wanted: int) -> int:
        """Return how many more a pool may start that wants `wanted`, where that is fewer.

        What is in flight is never taken back, so a pool above its share just waits.
        """
        known = self.contenders[preset_id]
        if wanted <= known.wants:
            # A pool that wants less than was divided by leaves the others no less, and gets no more.
            return max(self.shares[preset_id] - known.in_flight, 0)
        contenders = {**self.contenders, preset_id: replace(known, wants=wanted)}.values()
        return SharedLimit.divided(self.reason, self.limit, contenders).allowance(preset_id, wanted)

    def waiting(self, preset_id: str) -> tuple[int, ...]:
        """Return the other pools that want something, those with the least in flight first."""
        others = [item for item in self.contenders.values() if item.wants and item.preset_id != preset_id]
        return tuple(int(item.preset_id) for item in sorted(others, key=lambda item: item.in_flight))


def share_limits(
    usage: Mapping[int, Usage], contenders: Sequence[Contender], max_everywhere: int
) -> Mapping[int, tuple[SharedLimit, ...]]:
    """Divide the limits of these organizations, and the installation's, among the pools that share them.

    Returns the shared limits of each organization's pools.
    """
    kin: dict[int, list[Contender]] = defaultdict(list)
    for item in contenders:
        kin[item.organization_id].append(item)
    everywhere: list[SharedLimit] = []
    if max_everywhere:
        everywhere.append(SharedLimit.divided(LimitReason.GLOBAL_BUILDS, max_everywhere, contenders))
    found: dict[int, tuple[SharedLimit, ...]] = {}
    for organization_id in usage.keys() & kin.keys():
        used, members, limits = usage[organization_id], kin[organization_id], list[SharedLimit]()
        if used.max_builds_in_flight is not None:
            limits.append(SharedLimit.divided(LimitReason.ORGANIZATION_BUILDS, used.max_builds_in_flight, members))
        if used.max_workspaces is not None:
            # What is in flight has its place in the quota already.
            room = used.max_workspaces - used.workspaces + sum(item.in_flight for item in members)
            limits.append(SharedLimit.divided(LimitReason.QUOTA, room, members))
        found[organization_id] = (*limits, *everywhere)
    return found


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """Which holders move where, and which slots new prebuilds take."""

    moves: Mapping[str, int]
    new: tuple[int, ...]


def assign_slots(held: Mapping[str, int], ceiling: int, wanted: int) -> SlotPlan:
    """Bring holders at or above the ceiling below it as far as there is room, then find room for up to `wanted` more.

    Without the move, survivors of a shrunken pool would sit above the ceiling and leave the slots below it free for a
    surplus.
    """
    free = sorted(set(range(ceiling)) - set(held.values()))
    above = sorted((slot, workspace_id) for workspace_id, slot in held.items() if slot >= ceiling)
    moves = {workspace_id: free[position] for position, (_, workspace_id) in enumerate(above[: len(free)])}
    return SlotPlan(moves=moves, new=tuple(free[len(moves) :][: max(wanted, 0)]))
