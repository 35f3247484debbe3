"""Tell whether a pool has become short or full, or its organization's quota keeps it short."""

from __future__ import annotations

from typing import NamedTuple

from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.rules.wants import Wanted
from prebuild_tasks.schema.rules import is_active


class Told(NamedTuple):
    """What the latest events about a pool said. The fields have the names of the columns."""

    is_short: bool = False
    is_limited: bool = False


def to_tell(wanted: Wanted, told: Told, reason: Reason | None, *, limits_read: bool) -> Told:
    """Return what holds by now, to be told where it differs from `told`. Nothing new is told of an inactive version.

    Args:
        wanted: What the pool wants.
        told: What was told last.
        reason: Why its turn creates fewer prebuilds than it wants.
        limits_read: Whether the turn has looked at the limits; without, the quota counts as before, unless the pool
            wants nothing.
    """
    if not is_active(wanted.pool.preset):
        return told
    is_limited = reason is Reason.QUOTA if limits_read else told.is_limited and wanted.turn.create > 0
    return Told(wanted.state.eligible < wanted.state.desired, is_limited)
