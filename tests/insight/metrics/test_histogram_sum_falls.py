"""The `_sum` of a histogram fell by a rounding unit when the mark moved, because rows that had been added one by one
were then added as one stored total. Prometheus takes any fall for a restart, and adds the whole sum once more. 17 of
144 readings fell, by 1e-12.
"""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import pairwise

from sqlalchemy import select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.counters import Key, keep, move_mark, observed, read_totals
from tests.support.builders import PRESET, declare, fill

HOUR = timedelta(hours=1)


def sums(database: Database) -> dict[Key, float]:
    with database.snapshot() as connection:
        return {key: value for key, value in read_totals(connection).items() if key.detail.endswith("sum")}


def test_not_a_bit_is_lost_while_the_mark_moves(database: Database, settings: Settings) -> None:
    chance = random.Random(7)
    declare(database, settings, 40)
    fill(database, settings)
    for number in range(10):
        claim(database, ClaimRequest(f"owner{number}", [PRESET]))
    with database.write() as connection:
        now = database.now(connection)
        for identity in connection.execute(select(m.Build.id)).scalars().all():
            ended = now - chance.random() * HOUR
            began = ended - timedelta(microseconds=chance.randrange(300_000_000))
            times = {"completed_at": ended, "started_at": began, "created_at": began - chance.random() * HOUR}
            connection.execute(update(m.Build).where(m.Build.id == identity).values(times))
        for identity in connection.execute(select(m.ClaimEvent.id)).scalars().all():
            values = {"at": now - chance.random() * HOUR, "latency_ms": chance.random() * 20}
            connection.execute(update(m.ClaimEvent).where(m.ClaimEvent.id == identity).values(values))
        # Earlier releases rounded their stored totals differently.
        keep(connection, {Key("claim_seconds", "dev", "small", "sum"): 0.0})
        keep(connection, {Key("build_seconds", "dev", "", "start sum"): 0.1 + 0.2})
    before = sums(database)
    assert {key.series for key in before} >= {"build_seconds", "creation_seconds", "claim_seconds"}
    for step in range(1, 15):
        with database.write() as connection:
            move_mark(connection, now - HOUR + step * HOUR / 12)
        assert sums(database) == before


def test_the_ticks_sum_only_grows(database: Database) -> None:
    chance = random.Random(7)
    readings = [0.0]
    for _ in range(50):
        with database.write() as connection:
            keep(connection, observed("tick_seconds", chance.random(), [1.0]))
        [reading] = sums(database).values()
        readings.append(reading)
    assert all(earlier < later for earlier, later in pairwise(readings))
