"""How much of what a claim can take a changed declaration would do away with, before it is replaced."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from prebuild_tasks.model.names import PoolName
from prebuild_tasks.reconcile import GlobalSnapshot, PresetCounts, desired_now


class PoolSnapshot(NamedTuple):
    """Every pool at one instant, before or after the change."""

    snapshot: GlobalSnapshot
    successors: Mapping[str, str]
    """Where replacing is rolling: the active preset of each preset's pool, by preset; its own for the active one."""


class Deletions(NamedTuple):
    """Ready prebuilds that would go at once, out of all that a claim can take."""

    lost: int
    total: int


def deletions(before: PoolSnapshot, after: PoolSnapshot) -> Deletions:
    """What goes of each pool beyond what would have gone anyway, over all its versions."""
    stood, stand = _kept(before), _kept(after)
    total = 0
    fewer: Counter[PoolName] = Counter()
    for item in before.snapshot.presets:
        total += item.counts.ready if item.preset.active else stood[item.preset.id]
        fewer[_pool(item)] += stood[item.preset.id]
    for item in after.snapshot.presets:
        fewer[_pool(item)] -= stand[item.preset.id]
    return Deletions(sum(count for count in fewer.values() if count > 0), total)


def _kept(pools_at: PoolSnapshot) -> dict[str, int]:
    """By preset, how many ready prebuilds the next decisions leave. What is not ready is deleted first."""
    items = {item.preset.id: item for item in pools_at.snapshot.presets}
    stay: dict[str, int] = {}
    older: dict[str, list[PresetCounts]] = defaultdict(list)
    for identity, item in items.items():
        stay[identity] = min(item.counts.ready, desired_now(item.preset, pools_at.snapshot.now))
        if not item.preset.active and identity in pools_at.successors:
            older[pools_at.successors[identity]].append(item)
    for identity, others in older.items():
        needed = desired_now(items[identity].preset, pools_at.snapshot.now) - items[identity].counts.ready
        for item in sorted(others, key=lambda item: int(item.preset.id), reverse=True):
            stay[item.preset.id] = min(item.counts.ready, max(needed, 0))
            needed -= item.counts.ready
    return stay


def _pool(item: PresetCounts) -> PoolName:
    return PoolName.of_ref(item.ref)
