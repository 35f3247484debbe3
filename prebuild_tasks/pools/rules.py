"""The deletion guard: how many ready prebuilds a changed declaration would delete before they are replaced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from prebuild_tasks.model.names import PoolName
from prebuild_tasks.reconcile import OtherVersions, PoolVersion, kept_claimable
from prebuild_tasks.schema.rules import is_active


class Claimable(NamedTuple):
    """The prebuilds that can be claimed at one instant, before or after the change."""

    number: int
    kept: Mapping[PoolName, int]
    """Those of each pool, in all its versions, that the next turns keep."""

    @classmethod
    def of(cls, versions: Iterable[tuple[PoolName, PoolVersion, OtherVersions]], now: datetime) -> Claimable:
        """Count them in all versions of all pools. What an older version's next turn deletes does not count."""
        number = 0
        kept: dict[PoolName, int] = defaultdict(int)
        for pool, item, others in versions:
            keeps = kept_claimable(item, others, now)
            kept[pool] += keeps
            number += max(item.counts.ready, keeps) if is_active(item.preset) else keeps
        return cls(number, kept)


class Deletions(NamedTuple):
    """Claimable prebuilds that would be deleted at once, and all of them."""

    lost: int
    total: int


def deletions(before: Claimable, after: Claimable) -> Deletions:
    """Count the claimable prebuilds that the change deletes: per pool, over all its versions.

    Prebuilds that would be deleted without the change, too, do not count, and one pool's gain is not another's.
    """
    fewer = (kept - after.kept.get(pool, 0) for pool, kept in before.kept.items())
    return Deletions(sum(count for count in fewer if count > 0), before.number)


def mass_deletion(before: Claimable, after: Claimable) -> str:
    """Describe the deletion of more than half of all eligible prebuilds; empty if it is not that many."""
    lost, total = deletions(before, after)
    return f"{lost} of all {total} eligible prebuilds" if lost * 2 > total else ""
