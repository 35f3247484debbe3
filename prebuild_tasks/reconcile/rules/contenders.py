"""The pools that share limits, and how much each of them wants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from prebuild_tasks.reconcile.rules.limits import Contender, Limits
from prebuild_tasks.reconcile.rules.model import PresetCounts, Starts
from prebuild_tasks.reconcile.rules.next_turn import turn_of_counts
from prebuild_tasks.reconcile.rules.state import desired_now

SHARED_BY_AT_MOST = 2000
"""With more pools than this, limits are not divided, and the first pool to ask is served first: the tick sends the
emptiest first anyway, and counting all of them for each creation would cost too much."""


def is_divided_among(pools: int) -> bool:
    """Return whether a limit that this many pools share is divided among them."""
    return 1 < pools <= SHARED_BY_AT_MOST


def shared_within(organization_id: int, max_everywhere: int) -> int | None:
    """Return the organization whose pools share limits with a pool of it; None: all pools of the installation do.

    `max_everywhere` is the installation's limit; 0: there is none.
    """
    return None if max_everywhere else organization_id


def contenders(
    pools: Iterable[PresetCounts], in_flight: Mapping[int, Starts], backoff_interval: timedelta, now: datetime
) -> list[Contender]:
    """Return pools as contenders, which want what they would create within their own limits.

    Args:
        pools: The pools that share limits.
        in_flight: Start builds in flight, by preset.
        backoff_interval: The wait that each recent failure adds.
        now: The database's time.
    """
    sharing = []
    for item in pools:
        starts = in_flight.get(int(item.preset.id), Starts())
        wanted = turn_of_counts(item, backoff_interval, now).create
        if wanted:
            own = Limits(
                in_flight=starts.in_flight, max_in_flight=item.max_builds_in_flight, slow_start=item.slow_start
            )
            wanted = own.grant(item.preset.id, wanted).number
        fullness = item.counts.fullness(desired_now(item.preset, now))
        sharing.append(Contender(item.preset.id, starts.in_flight, wanted, fullness, item.organization_id, starts.held))
    return sharing
