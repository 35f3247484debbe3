"""The deletion guard: how many ready prebuilds a changed declaration would delete before they are replaced.

What a smaller size makes superfluous needs no confirmation, because whoever changes the size wants just that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from prebuild_tasks.model.names import PoolName
from prebuild_tasks.reconcile import OtherVersions, PoolVersion, desired_now, kept_claimable
from prebuild_tasks.schema.rules import is_active


class Claimable(NamedTuple):
    """The prebuilds that can be claimed at one instant, before or after the change."""

    number: int
    kept: Mapping[PoolName, int]
    """Those of each pool, in all its versions, that the next turns keep."""
    sizes: Mapping[PoolName, int]
    """The desired size of each active pool at this instant."""

    @classmethod
    def of(cls, versions: Iterable[tuple[PoolName, PoolVersion, OtherVersions]], now: datetime) -> Claimable:
        """Count them in all versions of all pools. What an older version's next turn deletes does not count."""
        number = 0
        kept: dict[PoolName, int] = defaultdict(int)
        sizes: dict[PoolName, int] = {}
        for pool, item, others in versions:
            keeps = kept_claimable(item, others, now)
            kept[pool] += keeps
            number += max(item.counts.ready, keeps) if is_active(item.preset) else keeps
            if is_active(item.preset):
                sizes[pool] = desired_now(item.preset, now)
        return cls(number, kept, sizes)


class Deletions(NamedTuple):
    """Claimable prebuilds that would be deleted at once, and all of them."""

    lost: int
    superfluous: int
    """Those among the lost ones that exceed their pool's new size."""
    total: int


def deletions(before: Claimable, after: Claimable) -> Deletions:
    """Count the claimable prebuilds that the change deletes: per pool, over all its versions.

    Prebuilds that would be deleted without the change, too, do not count, and one pool's gain is not another's.
    """
    lost = superfluous = 0
    for pool, kept in before.kept.items():
        fewer = max(kept - after.kept.get(pool, 0), 0)
        lost += fewer
        superfluous += min(fewer, max(kept - after.sizes.get(pool, kept), 0))
    return Deletions(lost, superfluous, before.number)


def mass_deletion(before: Claimable, after: Claimable) -> str:
    """Describe the deletion of more than half of all eligible prebuilds; empty if it is not that many.

    Those that exceed a new size are on neither side of the comparison, but are named with the others.
    """
    lost, superfluous, total = deletions(before, after)
    return f"{lost} of all {total} eligible prebuilds" if (lost - superfluous) * 2 > total - superfluous else ""
