"""Limits on creation, a pool's share of limits that several pools have in common, and slots of new prebuilds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from prebuild_tasks.reconcile.rules.model import Usage


class LimitReason(StrEnum):
    """The limit that cut a creation."""

    SLOW_START = "slow_start"
    PRESET_BUILDS = "preset_builds_in_flight"
    ORGANIZATION_BUILDS = "organization_builds_in_flight"
    GLOBAL_BUILDS = "global_builds_in_flight"
    QUOTA = "organization_quota"


class Limit(NamedTuple):
    """A limit, and how much of it is used."""

    reason: LimitReason
    most: int | None
    """The limit; None: there is none; 0: nothing may be created."""
    used: int

    @property
    def room(self) -> int | None:
        """Return how many more may be created; None: any number."""
        return None if self.most is None else max(self.most - self.used, 0)


class Grant(NamedTuple):
    """The number of prebuilds that may be created."""

    number: int
    limit: Limit | None = None
    """The limit that prevents the rest; None: nothing does."""
    is_share: bool = False
    """Whether the rest of the limit belongs to other pools, which have less."""
    left_for: tuple[int, ...] = ()
    """The presets of those pools, to be woken: they can proceed, and would otherwise wait for the next tick."""


_NO_LIMITS = Usage("", None, None, workspaces=0, builds_in_flight=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits on the creations of one pool's turn."""

    in_flight: int
    """The pool's start builds in flight."""
    max_in_flight: int | None
    """The pool's own limit; None: there is none."""
    slow_start: int | None
    """The limit after a failure; None: there was no failure, or enough builds succeeded since."""
    organization: Usage = _NO_LIMITS
    """The organization's limits, and how much of them is used."""
    everywhere: int = 0
    """The installation's start builds in flight, without those on hold."""
    max_everywhere: int = 0
    """The installation's limit; 0: there is none."""
    shared: tuple[SharedLimit, ...] = ()
    """The limits that the pool shares with others, divided; empty if they were not read."""

    @property
    def each(self) -> tuple[Limit, ...]:
        """Return every limit; if several are equally narrow, the first is reported."""
        usage = self.organization
        return (
            Limit(LimitReason.SLOW_START, self.slow_start, self.in_flight),
            Limit(LimitReason.PRESET_BUILDS, self.max_in_flight, self.in_flight),
            Limit(LimitReason.ORGANIZATION_BUILDS, usage.max_builds_in_flight, usage.builds_in_flight),
            Limit(LimitReason.GLOBAL_BUILDS, self.max_everywhere or None, self.everywhere),
            Limit(LimitReason.QUOTA, usage.max_workspaces, usage.workspaces),
        )

    @property
    def reached(self) -> tuple[Limit, ...]:
        """Return the limits that allow no further creation."""
        return tuple(limit for limit in self.each if limit.room == 0)

    def grant(self, preset_id: str, wanted: int) -> Grant:
        """Return how many of the wanted prebuilds the narrowest limit and the pool's share of shared limits allow."""
        granted = Grant(max(wanted, 0))
        for limit in self.each:
            if (room := limit.room) is not None and room < granted.number:
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
    """Divide a limit: those that want little get all of it, and the others get equal parts of the rest.

    A remainder goes to the first ones in `wants`, one each, so put the most urgent first.
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
    """A pool that shares a limit with others."""

    preset_id: str
    in_flight: int
    """Its start builds in flight."""
    wants: int
    """The number of prebuilds that it would create if it did not share the limit."""
    fullness: float = 0.0
    """Eligible / desired; a remainder goes to the emptiest pools."""
    organization_id: int = 0
    held: int = 0
    """Its start builds on hold, which count for the quota of workspaces only."""

    @property
    def without_held(self) -> Contender:
        """The pool as it counts for limits on builds."""
        return replace(self, in_flight=self.in_flight - self.held, held=0)


@dataclass(frozen=True, slots=True)
class SharedLimit:
    """A limit that is divided among the pools that share it."""

    reason: LimitReason
    limit: int
    contenders: Mapping[str, Contender]
    shares: Mapping[str, int]
    """The number of builds that each preset may have in flight."""

    @classmethod
    def divided(cls, reason: LimitReason, limit: int, contenders: Collection[Contender]) -> SharedLimit:
        """Divide a limit so that, if not all wants fit, pools have equally many builds in flight."""
        by_need = sorted(contenders, key=lambda item: (item.fullness, item.preset_id))
        shares = fair_share({item.preset_id: item.in_flight + item.wants for item in by_need}, limit)
        return cls(reason, limit, {item.preset_id: item for item in contenders}, shares)

    def allowance(self, preset_id: str, wanted: int) -> int:
        """Return how many more builds a pool may start that wants `wanted`. The result may exceed `wanted`.

        Builds in flight are never taken back, so a pool above its share waits.
        """
        divided = self.contenders[preset_id]
        if wanted <= divided.wants:
            # A pool that wants less than when the limit was divided takes nothing from the others.
            return max(self.shares[preset_id] - divided.in_flight, 0)
        contenders = {**self.contenders, preset_id: replace(divided, wants=wanted)}.values()
        return SharedLimit.divided(self.reason, self.limit, contenders).allowance(preset_id, wanted)

    def waiting(self, preset_id: str) -> tuple[int, ...]:
        """Return the other pools that want prebuilds, those with the fewest builds in flight first."""
        others = [item for item in self.contenders.values() if item.wants and item.preset_id != preset_id]
        return tuple(int(item.preset_id) for item in sorted(others, key=lambda item: item.in_flight))


def share_limits(
    usage: Mapping[int, Usage], contenders: Sequence[Contender], max_everywhere: int
) -> Mapping[int, tuple[SharedLimit, ...]]:
    """Divide the limits of these organizations, and the installation's, among the pools that share them.

    Returns:
        The shared limits of each organization's pools, by organization.
    """
    by_organization: dict[int, list[Contender]] = defaultdict(list)
    for item in contenders:
        by_organization[item.organization_id].append(item)
    everywhere: list[SharedLimit] = []
    if max_everywhere:
        building = [item.without_held for item in contenders]
        everywhere.append(SharedLimit.divided(LimitReason.GLOBAL_BUILDS, max_everywhere, building))
    shared: dict[int, tuple[SharedLimit, ...]] = {}
    for organization_id in usage.keys() & by_organization.keys():
        used, members, limits = usage[organization_id], by_organization[organization_id], list[SharedLimit]()
        if used.max_builds_in_flight is not None:
            building = [item.without_held for item in members]
            limits.append(SharedLimit.divided(LimitReason.ORGANIZATION_BUILDS, used.max_builds_in_flight, building))
        if used.max_workspaces is not None:
            # Builds in flight already count towards the quota.
            room = used.max_workspaces - used.workspaces + sum(item.in_flight for item in members)
            limits.append(SharedLimit.divided(LimitReason.QUOTA, room, members))
        shared[organization_id] = (*limits, *everywhere)
    return shared


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """The slots to assign in one turn."""

    moves: Mapping[str, int]
    """New slots of workspaces that hold one at or above the ceiling."""
    new: tuple[int, ...]
    """The slots of new prebuilds."""


def assign_slots(held: Mapping[str, int], ceiling: int, wanted: int) -> SlotPlan:
    """Move holders of slots at or above the ceiling to free ones below it, then assign up to `wanted` free slots.

    Without the moves, the remaining prebuilds of a pool whose desired size fell would keep high slots, and the free
    slots below the ceiling would allow a surplus.
    """
    free = sorted(set(range(ceiling)) - set(held.values()))
    above = sorted((slot, workspace_id) for workspace_id, slot in held.items() if slot >= ceiling)
    moves = {workspace_id: free[position] for position, (_, workspace_id) in enumerate(above[: len(free)])}
    return SlotPlan(moves=moves, new=tuple(free[len(moves) :][: max(wanted, 0)]))
