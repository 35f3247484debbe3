"""Openings: how many claims that wait, with nothing reserved for them, may get a workspace by now.

They are counted without locks, so a claim may still miss: it waits for the next opening then. However many claims wait
for however many presets, the number of statements is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from sqlalchemy import Connection

from prebuild_tasks.claims.reserve import count_adoptable
from prebuild_tasks.claims.rows import Pool
from prebuild_tasks.claims.rules import is_buildable, refusal_of
from prebuild_tasks.claims.store import ReadyCounts, count_claimable, read_candidates
from prebuild_tasks.db.engine import Database
from prebuild_tasks.reconcile import InFlight, Starts, Usage, read_usage, second_choices
from prebuild_tasks.schema.pauses import global_pause, pause_holds

OPEN = 1_000_000
"""The openings where nothing limits them, or where a claim would be refused, and so need not wait."""

Choice: TypeAlias = tuple[int, ...]
"""The ids of the presets that a claim may take from, in its order. Claims with the same choice wait together."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """All that is known of the presets of some choices."""

    pools: Mapping[int, Pool]
    second_choices: Mapping[int, Collection[int]]
    """Where a pool that replaces gradually has prebuilds that may be claimed, outdated ones among them."""
    ready: Mapping[int, ReadyCounts]
    adoptable: Mapping[int, int]
    usage: Mapping[int, Usage]
    """By organization."""
    starts: Mapping[int, Starts]
    everywhere: int
    """The installation's start builds in flight."""
    all_paused: bool
    max_builds_in_flight: int
    now: datetime


def read_openings(
    database: Database, choices: Collection[Choice], *, max_builds_in_flight: int
) -> Mapping[Choice, int]:
    """Count the openings of each choice. `max_builds_in_flight` is the installation's limit; 0: none."""
    ids = sorted({preset_id for choice in choices for preset_id in choice})
    with database.read() as connection:
        facts = _read(connection, ids, database.now(connection), max_builds_in_flight)
    of_pools = {pool.id: _of_pool(facts, pool) for pool in facts.pools.values()}
    return {choice: _openings(facts, of_pools, choice) for choice in choices}


def _read(connection: Connection, ids: Sequence[int], now: datetime, most: int) -> _Facts:
    second = second_choices(connection, ids)
    everywhere = sorted({*ids, *(other for others in second.values() for other in others)})
    usage, starts = read_usage(connection)
    return _Facts(
        pools={pool.id: pool for pool in read_candidates(connection, ids)},
        second_choices=second,
        ready=count_claimable(connection, everywhere, now),
        adoptable=count_adoptable(connection, ids),
        usage=usage,
        starts=starts,
        everywhere=sum(number.sharing for number in starts.values()),
        all_paused=pause_holds(global_pause(connection), now),
        max_builds_in_flight=most,
        now=now,
    )


def _openings(facts: _Facts, of_pools: Mapping[int, int], choice: Choice) -> int:
    pools = [facts.pools[preset_id] for preset_id in choice if preset_id in facts.pools]
    if not pools or refusal_of(pools):
        return OPEN  # what it names is gone, or nothing is built for it
    return sum(of_pools[pool.id] for pool in pools)


def _of_pool(facts: _Facts, pool: Pool) -> int:
    return _ready(facts, pool) + facts.adoptable.get(pool.id, 0) + _room(facts, pool)


def _ready(facts: _Facts, pool: Pool) -> int:
    """Count the prebuilds that can be claimed; while a pool replaces gradually, outdated ones too."""
    if pool.id not in facts.second_choices:
        return facts.ready.get(pool.id, ReadyCounts()).fresh
    return sum(facts.ready.get(preset_id, ReadyCounts()).kept for preset_id in facts.second_choices[pool.id])


def _room(facts: _Facts, pool: Pool) -> int:
    """Count the builds that may be begun for people."""
    if facts.all_paused or not is_buildable(pool) or pause_holds(pool.paused, facts.now):
        return 0
    starts = facts.starts.get(pool.id, Starts()).in_flight
    in_flight = InFlight(starts, facts.everywhere, facts.usage[pool.organization_id])
    limits = in_flight.limits(
        max_in_flight=pool.max_builds_in_flight, slow_start=None, max_everywhere=facts.max_builds_in_flight
    )
    return limits.grant(str(pool.id), OPEN).number
