"""Openings: how many claims that wait, with nothing reserved for them, may get a workspace by now.

They are counted without locks, so a claim may still miss: it waits for the next opening then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from sqlalchemy import Connection

from prebuild_tasks.access import Reach
from prebuild_tasks.claims.candidates import find_pools, second_choice_pools
from prebuild_tasks.claims.reserve import count_adoptable
from prebuild_tasks.claims.rows import Pool
from prebuild_tasks.claims.rules import is_buildable, refusal_of
from prebuild_tasks.claims.store import count_claimable
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError
from prebuild_tasks.reconcile import read_in_flight
from prebuild_tasks.schema.pauses import global_pause, pause_holds

OPEN = 1_000_000
"""The openings where nothing limits them, or where a claim would be refused, and so need not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The pools that a claim may take from, as its request names them. Claims with the same choice wait together."""

    presets: tuple[str, ...]
    template: str
    parameters: frozenset[tuple[str, str]]
    reach: Reach | None

    @classmethod
    def of(cls, request: ClaimRequest) -> Self:
        """Return the choice of a request."""
        reach = request.reach and replace(request.reach, owner="")  # whoever claims, the pools are the same
        return cls(
            presets=tuple(request.presets),
            template=request.template,
            parameters=frozenset(request.parameters.items()),
            reach=reach,
        )

    def request(self) -> ClaimRequest:
        """Return a request of this choice, of nobody."""
        return ClaimRequest("", self.presets, self.template, dict(self.parameters), reach=self.reach)


def read_openings(
    database: Database, choices: Collection[Choice], *, max_builds_in_flight: int
) -> Mapping[Choice, int]:
    """Count the openings of each choice. `max_builds_in_flight` is the installation's limit; 0: none."""
    with database.read() as connection:
        now = database.now(connection)
        return {choice: _openings(connection, choice, max_builds_in_flight, now) for choice in choices}


def _openings(connection: Connection, choice: Choice, most: int, now: datetime) -> int:
    try:
        pools = find_pools(connection, choice.request())
    except (InputError, NotFoundError):  # what it names is gone
        return OPEN
    if refusal_of(pools):
        return OPEN
    candidates = [candidate for pool in pools for candidate in (pool, *second_choice_pools(connection, pool))]
    ready = count_claimable(connection, candidates, now)
    return ready + count_adoptable(connection, pools) + _room(connection, pools, most, now)


def _room(connection: Connection, pools: Sequence[Pool], most: int, now: datetime) -> int:
    """Count the builds that may be begun for people."""
    if pause_holds(global_pause(connection), now):
        return 0
    rooms = 0
    for pool in pools:
        if not is_buildable(pool) or pause_holds(pool.paused, now):
            continue
        in_flight = read_in_flight(connection, pool.id, pool.organization_id)
        limits = in_flight.limits(max_in_flight=pool.max_builds_in_flight, slow_start=None, max_everywhere=most)
        rooms += limits.grant(str(pool.id), OPEN).number
    return rooms
