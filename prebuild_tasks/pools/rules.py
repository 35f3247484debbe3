"""The deletion guard: how many ready prebuilds a changed declaration would delete before they are replaced."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from prebuild_tasks.model.names import PoolName
from prebuild_tasks.reconcile import GlobalSnapshot, PresetCounts, desired_now
from prebuild_tasks.schema.rules import is_active


class PoolSnapshot(NamedTuple):
    """All pools at one instant, before or after the change."""

    snapshot: GlobalSnapshot
    successors: Mapping[str, str]
    """Active preset of each preset's pool, by preset, for pools that replace gradually. An active preset has itself."""


class Deletions(NamedTuple):
    """Ready prebuilds that would be deleted at once, and all that can be claimed."""

    lost: int
    total: int


def deletions(before: PoolSnapshot, after: PoolSnapshot) -> Deletions:
    """Count the ready prebuilds that the change deletes: per pool, over all its versions.

    Prebuilds that would be deleted without the change, too, do not count, and one pool's gain is not another's.
    """
    kept_before, kept_after = _kept(before), _kept(after)
    total = 0
    fewer: Counter[PoolName] = Counter()
    for item in before.snapshot.presets:
        total += item.counts.ready if is_active(item.preset) else kept_before[item.preset.id]
        fewer[_pool(item)] += kept_before[item.preset.id]
    for item in after.snapshot.presets:
        fewer[_pool(item)] -= kept_after[item.preset.id]
    return Deletions(sum(count for count in fewer.values() if count > 0), total)


def mass_deletion(before: PoolSnapshot, after: PoolSnapshot) -> str:
    """Describe the deletion of more than half of all eligible prebuilds; empty if it is not that many."""
    lost, total = deletions(before, after)
    return f"{lost} of all {total} eligible prebuilds" if lost * 2 > total else ""


def _kept(pools_at: PoolSnapshot) -> dict[str, int]:
    """Count the ready prebuilds that the next turns keep, by preset. Prebuilds that are not ready are deleted first."""
    items = {item.preset.id: item for item in pools_at.snapshot.presets}
    kept: dict[str, int] = {}
    older: dict[str, list[PresetCounts]] = defaultdict(list)
    for identity, item in items.items():
        kept[identity] = min(item.counts.ready, desired_now(item.preset, pools_at.snapshot.now))
        if not is_active(item.preset) and identity in pools_at.successors:
            older[pools_at.successors[identity]].append(item)
    for identity, others in older.items():
        needed = desired_now(items[identity].preset, pools_at.snapshot.now) - items[identity].counts.ready
        for item in sorted(others, key=lambda item: int(item.preset.id), reverse=True):
            kept[item.preset.id] = min(item.counts.ready, max(needed, 0))
            needed -= item.counts.ready
    return kept


def _pool(item: PresetCounts) -> PoolName:
    return item.ref.pool
