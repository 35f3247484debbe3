"""How much of what a claim can take a changed declaration would do away with, before it is replaced."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from prebuild_tasks.model.names import PoolName
from prebuild_tasks.reconcile import GlobalSnapshot, PresetCounts, desired_now


class Scene(NamedTuple):
    """Every pool at one instant, before or after the change."""

    snapshot: GlobalSnapshot
    successors: Mapping[str, str]
    """Where replacing is rolling: the active preset of each preset's pool, by preset; its own for the active one."""


class Losses(NamedTuple):
    """Ready prebuilds that would go at once, out of all that a claim can take."""

    lost: int
    total: int


def losses(before: Scene, after: Scene) -> Losses:
    """What goes of each pool beyond what would have gone anyway, over all its versions."""
    stood, stand = _staying(before), _staying(after)
    total = 0
    fewer: Counter[PoolName] = Counter()
    for item in before.snapshot.presets:
        total += item.counts.ready if item.preset.active else stood[item.preset.id]
        fewer[_pool(item)] += stood[item.preset.id]
    for item in after.snapshot.presets:
        fewer[_pool(item)] -= stand[item.preset.id]
    return Losses(sum(count for count in fewer.values() if count > 0), total)


def _staying(scene: Scene) -> dict[str, int]:
    """By preset, how many ready prebuilds the next decisions leave. What is not ready is deleted first."""
    items = {item.preset.id: item for item in scene.snapshot.presets}
    stay: dict[str, int] = {}
    older: dict[str, list[PresetCounts]] = defaultdict(list)
    for identity, item in items.items():
        stay[identity] = min(item.counts.ready, desired_now(item.preset, scene.snapshot.now))
        if not item.preset.active and identity in scene.successors:
            older[scene.successors[identity]].append(item)
    for identity, others in older.items():
        needed = desired_now(items[identity].preset, scene.snapshot.now) - items[identity].counts.ready
        for item in sorted(others, key=lambda item: int(item.preset.id), reverse=True):
            stay[item.preset.id] = min(item.counts.ready, max(needed, 0))
            needed -= item.counts.ready
    return stay


def _pool(item: PresetCounts) -> PoolName:
    return PoolName.of_ref(item.ref)
