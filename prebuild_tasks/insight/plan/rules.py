"""The effect of a changed declaration on each pool, from its versions before and after. The functions are pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prebuild_tasks.model.names import PoolName
from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile import Quantities, Reason, ReconciliationState
from prebuild_tasks.schema.rules import is_active

_NOT_HELD_BACK = (Reason.NONE, Reason.INACTIVE, Reason.STARTING, Reason.NOT_YET)


@dataclass(frozen=True, slots=True)
class VersionState:
    """The preset of a pool in one version, and what its next turns do."""

    version: str
    preset: Preset
    state: ReconciliationState
    amount: Quantities
    """How many prebuilds its next turns delete, cancel and create in total."""
    reason: Reason
    """Why the pool is short; the codes in `_NOT_HELD_BACK` hold no creation back."""
    rolling: bool = False
    cost_per_hour: float | None = None
    no_turn_reason: Reason | None = None
    """Why the pool gets no turn, so that its deletions wait, too: `paused` or `lost_turns`; None: it gets turns."""

    @property
    def cost(self) -> float:
        """Cost per hour of the size that is desired at present."""
        return self.state.desired * (self.cost_per_hour or 0.0)

    @property
    def peak(self) -> float:
        """Cost per hour of the largest size that is ever desired."""
        return self._most * (self.cost_per_hour or 0.0) if is_active(self.preset) else 0.0

    @property
    def _most(self) -> int:
        return max([self.preset.desired, *(schedule.desired for schedule in self.preset.schedules)])


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost per hour before and after, in the currency of `cost_per_hour`."""

    before: float
    """At the size desired at present."""
    after: float
    peak_before: float
    """At the largest size that is ever desired."""
    peak_after: float


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The change of one pool.

    A replaced prebuild counts neither as created nor as deleted; a canceled start counts as deleted.
    """

    preset: PoolName
    create: int
    delete: int
    replace: int
    why: str
    waits: Reason | None
    """What would hold the change back. `paused` and `lost_turns` hold back all of it, any other reason only creation.
    None: nothing does, except that a limit may let only a part through at a time."""
    cost: Cost | None
    """None: the pool never had a cost."""

    @property
    def sign(self) -> str:
        """`+` or `-` for a pool that only creates or only deletes.

        `~` for any other, even one that replaces some and creates more.
        """
        if self.replace or (self.create and self.delete):
            return "~"
        return "+" if self.create else "-" if self.delete else "~"


Pools = Mapping[PoolName, Sequence[VersionState]]
"""Every version that is active or has prebuilds, by pool."""


def plan_pools(before: Pools, after: Pools) -> list[PoolPlan]:
    """Return the plan of each pool that would behave differently, sorted by name."""
    plans = []
    for name in sorted({*before, *after}, key=str):
        old, new = before.get(name, ()), after.get(name, ())
        if _outlook(old) != _outlook(new):
            plans.append(_plan(name, old, new))
    return plans


def total_cost(before: Pools, after: Pools) -> Cost | None:
    """Return the cost of all pools; None when none has a cost."""
    return _cost(
        [item for rows in before.values() for item in rows], [item for rows in after.values() for item in rows]
    )


def _plan(name: PoolName, old: Sequence[VersionState], new: Sequence[VersionState]) -> PoolPlan:
    create = sum(item.amount.create for item in new)
    delete = sum(item.amount.delete + item.amount.cancel for item in new)
    replace = min(create, delete)
    active = _active(new)
    waits = active.reason if active and create and active.reason not in _NOT_HELD_BACK else None
    no_turn_reason = next((item.no_turn_reason for item in new if item.no_turn_reason and any(_amounts(item))), None)
    waits = no_turn_reason or waits
    return PoolPlan(name, create - replace, delete - replace, replace, _why(old, new), waits, _cost(old, new))


def _why(old: Sequence[VersionState], new: Sequence[VersionState]) -> str:
    was, now = _active(old), _active(new)
    if now is None:
        left = [item.preset for item in new]
        if any(preset.deprecated for preset in left):
            return "deprecated"
        return "not in the active version" if any(not preset.deleted for preset in left) else "no longer declared"
    if was is None:
        return "active again" if old else "new"
    changes = []
    if was.version != now.version:
        manner = "gradually" if now.rolling else "all at once"
        changes.append(f"version {was.version} -> {now.version}, {manner}")
    if was.preset.desired != now.preset.desired:
        changes.append(f"desired {was.preset.desired} -> {now.preset.desired}")
    if (was.preset.schedules, was.preset.timezone) != (now.preset.schedules, now.preset.timezone):
        changes.append(f"schedules, desired now {was.state.desired} -> {now.state.desired}")
    if was.preset.ttl != now.preset.ttl:
        changes.append("ttl")
    if was.cost_per_hour != now.cost_per_hour:
        changes.append("cost_per_hour")
    return ", ".join(changes) or "changed"


def _outlook(versions: Sequence[VersionState]) -> tuple[object, ...]:
    """Return a key that two sets of versions share if and only if the pool behaves the same."""
    active = _active(versions)
    amounts = [(item.amount.create, item.amount.delete, item.amount.cancel) for item in versions if any(_amounts(item))]
    if active is None:
        return (None, amounts)
    preset = active.preset
    return (
        active.version, preset.desired, preset.schedules, preset.timezone, preset.ttl, active.cost_per_hour, amounts
    )  # fmt: skip


def _amounts(item: VersionState) -> tuple[int, int, int]:
    return item.amount.create, item.amount.delete, item.amount.cancel


def _active(versions: Sequence[VersionState]) -> VersionState | None:
    return next((item for item in versions if is_active(item.preset)), None)


def _cost(old: Sequence[VersionState], new: Sequence[VersionState]) -> Cost | None:
    if all(item.cost_per_hour is None for item in (*old, *new)):
        return None
    return Cost(
        sum(item.cost for item in old), sum(item.cost for item in new),
        sum(item.peak for item in old), sum(item.peak for item in new),
    )  # fmt: skip
