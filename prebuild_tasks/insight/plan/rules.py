"""What a changed declaration makes of each pool: its versions before and after, compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile import Quantities, Reason, ReconciliationState

_GOES_ON = (Reason.NONE, Reason.INACTIVE, Reason.STARTING, Reason.NOT_YET)


@dataclass(frozen=True, slots=True)
class VersionNow:
    """A pool's preset in one version, and what its next decisions do."""

    version: str
    preset: Preset
    state: ReconciliationState
    amount: Quantities
    reason: Reason
    """What would hold a creation back."""
    rolling: bool = False
    cost_per_hour: float | None = None
    paused: bool = False
    """By itself or with everything: its deletions wait, too."""

    @property
    def cost(self) -> float:
        """Of an hour with as many as are desired right now."""
        return self.state.desired * (self.cost_per_hour or 0.0)

    @property
    def peak(self) -> float:
        """The same while as many are desired as ever are."""
        return self._most * (self.cost_per_hour or 0.0) if self.preset.active else 0.0

    @property
    def _most(self) -> int:
        return max([self.preset.desired, *(schedule.desired for schedule in self.preset.schedules)])


@dataclass(frozen=True, slots=True)
class Cost:
    """Per hour, before and after, in whatever `cost_per_hour` is in; now and at the busiest."""

    before: float
    after: float
    peak_before: float
    peak_after: float


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What becomes of one pool: so many more, fewer, or others."""

    preset: str
    create: int
    delete: int
    replace: int
    why: str
    waits: Reason | None
    """What would hold it back, or the creation alone where it is no pause; None: nothing."""
    cost: Cost | None
    """None: the pool never had a cost."""

    @property
    def sign(self) -> str:
        if self.replace or (self.create and self.delete):
            return "~"
        return "+" if self.create else "-" if self.delete else "~"


Pools = Mapping[str, Sequence[VersionNow]]
"""By `template/preset`: every version that is active or has prebuilds."""


def plan_pools(before: Pools, after: Pools) -> list[PoolPlan]:
    """Of each pool whose future changes, by name."""
    plans = []
    for name in sorted({*before, *after}):
        old, new = before.get(name, ()), after.get(name, ())
        if _outlook(old) != _outlook(new):
            plans.append(_plan(name, old, new))
    return plans


def total_cost(before: Pools, after: Pools) -> Cost | None:
    """Of all pools; None when none has a cost."""
    return _cost(
        [item for rows in before.values() for item in rows], [item for rows in after.values() for item in rows]
    )


def _plan(name: str, old: Sequence[VersionNow], new: Sequence[VersionNow]) -> PoolPlan:
    create = sum(item.amount.create for item in new)
    delete = sum(item.amount.delete + item.amount.cancel for item in new)
    replace = min(create, delete)
    active = _active(new)
    waits = active.reason if active and create and active.reason not in _GOES_ON else None
    if any(item.paused and any(_amounts(item)) for item in new):
        waits = Reason.PAUSED
    return PoolPlan(name, create - replace, delete - replace, replace, _why(old, new), waits, _cost(old, new))


def _why(old: Sequence[VersionNow], new: Sequence[VersionNow]) -> str:
    was, now = _active(old), _active(new)
    if now is None:
        left = [item.preset for item in new]
        if any(preset.deprecated for preset in left):
            return "deprecated"
        return "not in the active version" if any(not preset.deleted for preset in left) else "no longer declared"
    if was is None:
        return "active again" if old else "new"
    words = []
    if was.version != now.version:
        how = "one by one" if now.rolling else "all at once"
        words.append(f"version {was.version} -> {now.version}, {how}")
    if was.preset.desired != now.preset.desired:
        words.append(f"desired {was.preset.desired} -> {now.preset.desired}")
    if (was.preset.schedules, was.preset.timezone) != (now.preset.schedules, now.preset.timezone):
        words.append(f"schedules, desired now {was.state.desired} -> {now.state.desired}")
    if was.preset.ttl != now.preset.ttl:
        words.append("ttl")
    if was.cost_per_hour != now.cost_per_hour:
        words.append("cost_per_hour")
    return ", ".join(words) or "changed"


def _outlook(versions: Sequence[VersionNow]) -> tuple[object, ...]:
    """What tells that a pool's future is another one."""
    active = _active(versions)
    amounts = [(item.amount.create, item.amount.delete, item.amount.cancel) for item in versions if any(_amounts(item))]
    if active is None:
        return (None, amounts)
    preset = active.preset
    return (
        active.version, preset.desired, preset.schedules, preset.timezone, preset.ttl, active.cost_per_hour, amounts
    )  # fmt: skip


def _amounts(item: VersionNow) -> tuple[int, int, int]:
    return item.amount.create, item.amount.delete, item.amount.cancel


def _active(versions: Sequence[VersionNow]) -> VersionNow | None:
    return next((item for item in versions if item.preset.active), None)


def _cost(old: Sequence[VersionNow], new: Sequence[VersionNow]) -> Cost | None:
    if all(item.cost_per_hour is None for item in (*old, *new)):
        return None
    return Cost(
        sum(item.cost for item in old), sum(item.cost for item in new),
        sum(item.peak for item in old), sum(item.peak for item in new),
    )  # fmt: skip
