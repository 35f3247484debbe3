"""Budgets and slots: how much of a wanted creation may happen, and where the new prebuilds are put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class LimitReason(StrEnum):
    """Which limit cut a creation."""

    SLOW_START = "slow_start"
    PRESET_BUILDS = "preset_builds_in_flight"
    ORGANIZATION_BUILDS = "organization_builds_in_flight"
    GLOBAL_BUILDS = "global_builds_in_flight"
    QUOTA = "organization_quota"


@dataclass(frozen=True, slots=True)
class Capped:
    """How many may be created, and what held back the rest."""

    count: int
    reason: LimitReason | None = None


def cap_creations(
    wanted: int,
    *,
    preset_in_flight: int,
    preset_max: int | None,
    organization_in_flight: int,
    organization_max: int | None,
    global_in_flight: int,
    global_max: int | None,
    organization_workspaces: int,
    organization_max_workspaces: int | None,
    slow_start_limit: int | None,
) -> Capped:
    """Cut `wanted` to the narrowest budget; None means no such limit, 0 lets nothing through.

    The narrowest is named, the first of equals.
    """
    budgets = (
        (LimitReason.SLOW_START, slow_start_limit, preset_in_flight),
        (LimitReason.PRESET_BUILDS, preset_max, preset_in_flight),
        (LimitReason.ORGANIZATION_BUILDS, organization_max, organization_in_flight),
        (LimitReason.GLOBAL_BUILDS, global_max, global_in_flight),
        (LimitReason.QUOTA, organization_max_workspaces, organization_workspaces),
    )
    allowed = Capped(max(wanted, 0))
    for reason, limit, used in budgets:
        if limit is not None and max(limit - used, 0) < allowed.count:
            allowed = Capped(max(limit - used, 0), reason)
    return allowed


def fair_share(wants: Mapping[str, int], budget: int) -> dict[str, int]:
    """Share a short budget: who wants little gets all of it, the others get equally much of what is left.

    What does not divide goes one each to those that come first in `wants`, so give the most urgent first.
    """
    left = max(budget, 0)
    hungry = dict.fromkeys(wants)
    shares: dict[str, int] = dict.fromkeys(wants, 0)
    for name in sorted(wants, key=lambda name: wants[name]):
        want = max(wants[name], 0)
        if want * len(hungry) > left:
            break
        shares[name] = want
        left -= want
        del hungry[name]
    for position, name in enumerate(hungry):
        level, extra = divmod(left, len(hungry))
        shares[name] = level + (position < extra)
    return shares


@dataclass(frozen=True, slots=True)
class Hungry:
    """A pool that shares a budget: what it has in flight, and what it would create if nobody else were there."""

    preset_id: str
    in_flight: int
    wants: int
    fullness: float = 0.0
    """Eligible / desired; what does not divide goes to the emptiest."""


def fair_allowance(mine: str, everybody: Sequence[Hungry], limit: int) -> int:
    """How many more `mine` may start so that builds in flight come out equal, where not all wants fit under `limit`.

    What is in flight is never taken back, so a pool above its share just waits.
    """
    by_need = sorted(everybody, key=lambda item: (item.fullness, item.preset_id))
    shares = fair_share({item.preset_id: item.in_flight + item.wants for item in by_need}, limit)
    return max(shares[mine] - next(item.in_flight for item in by_need if item.preset_id == mine), 0)


@dataclass(frozen=True, slots=True)
class Pot:
    """A limit that pools share, divided among them once: for whoever asks of many pools."""

    reason: LimitReason
    limit: int
    everybody: Mapping[str, Hungry]
    shares: Mapping[str, int]

    @classmethod
    def divided(cls, reason: LimitReason, limit: int, everybody: Sequence[Hungry]) -> Pot:
        """Among `everybody`, as `fair_allowance` does."""
        by_need = sorted(everybody, key=lambda item: (item.fullness, item.preset_id))
        shares = fair_share({item.preset_id: item.in_flight + item.wants for item in by_need}, limit)
        return cls(reason, limit, {item.preset_id: item for item in everybody}, shares)

    def allowance(self, mine: str, wanted: int) -> int:
        """`fair_allowance` of a pool that wants `wanted`, as far as that is below `wanted`."""
        known = self.everybody[mine]
        if wanted <= known.wants:
            # Who wants less than was divided by leaves the others no less, and gets no more.
            return max(self.shares[mine] - known.in_flight, 0)
        others = [item for item in self.everybody.values() if item.preset_id != mine]
        return fair_allowance(mine, [*others, replace(known, wants=wanted)], self.limit)


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
