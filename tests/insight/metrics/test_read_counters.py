"""Counters never fall: not when rows are deleted, and not with new versions and names."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from sqlalchemy import select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.schema import counters
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.retention.run import prune
from prebuild_tasks.upkeep.types import Pruned
from tests.insight.metrics.scraping import DAY, POOL, Scrape, counted, exporter, live_a_little, miss, scrape
from tests.support.builders import PRESET, declare, fill, finish_builds, jump, preset_id, turn
from tests.support.pool_files import load_text

__all__ = ["exporter", "scrape"]


def test_counters_never_fall(database: Database, settings: Settings, scrape: Callable[[], Scrape]) -> None:
    live_a_little(database, settings)
    before = counted(scrape())
    assert before[f"prebuild_failed_total{{{POOL}}}"] == 1
    assert before[f"prebuild_claimed_total{{{POOL}}}"] == 2
    assert before[f"prebuild_claim_misses_total{{{POOL},reason=not_desired}}"] == 1
    assert before[f"prebuild_unhealthy_total{{{POOL},reason=unhealthy}}"] == 1
    with database.write() as connection:
        counters.move_mark(connection, database.now(connection))
    assert counted(scrape()) == before, "too fresh: counted where it stands"
    jump(database, 900)
    for _ in range(2):
        with database.write() as connection:
            counters.move_mark(connection, database.now(connection))
        assert counted(scrape()) == before, "kept, once"
    live_a_little(database, settings)  # rows that the mark has not passed yet
    before = counted(scrape())
    gone: dict[str, int] = {}
    for days in (31, 150, 1):
        jump(database, days * DAY)
        while (done := prune(database, settings)) != Pruned():
            gone = {name: gone.get(name, 0) + number for name, number in asdict(done).items()}
            assert counted(scrape()) == before
    assert gone["builds"] > 5
    assert gone["events"] > 5
    with database.read() as connection:
        assert not connection.execute(select(m.ClaimEvent.id)).all()
    declare(database, settings, 2)
    fill(database, settings)
    after = counted(scrape())
    created = f"prebuild_created_total{{{POOL}}}"
    assert after[created] == before[created] + 2
    assert all(after[name] >= value for name, value in before.items())


def test_what_is_kept_for_no_time_is_counted_first(
    database: Database, settings: Settings, scrape: Callable[[], Scrape]
) -> None:
    live_a_little(database, settings)
    before = counted(scrape())
    at_once = settings.model_copy(update={"retention_builds": 0.0, "retention_events": 0.0})
    prune(database, at_once)
    assert counted(scrape()) == before
    jump(database, counters.LAG.total_seconds() + 1)
    assert prune(database, at_once).builds > 0
    assert counted(scrape()) == before


def test_two_sweeps_at_once_count_once(database: Database, settings: Settings, scrape: Callable[[], Scrape]) -> None:
    live_a_little(database, settings)
    before = counted(scrape())
    jump(database, 3600)
    ready = threading.Barrier(4)

    def move() -> None:
        ready.wait(60)
        with database.write() as connection:
            counters.move_mark(connection, database.now(connection))

    with ThreadPoolExecutor(4) as pool:
        for moved in [pool.submit(move) for _ in range(4)]:
            moved.result(30)
    with database.read() as connection:
        kept = {counters.Key(*row[:4]): row[4] for row in connection.execute(select(*m.Total.__table__.columns))}
    assert kept[counters.Key("created", "dev", "small")] == before[f"prebuild_created_total{{{POOL}}}"] > 0
    assert counted(scrape()) == before


def test_counters_outlive_versions_and_their_fresh_builds(
    database: Database, settings: Settings, scrape: Callable[[], Scrape]
) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    old = preset_id(database)
    jump(database, 31 * DAY)
    declare(database, settings, 0, start="true # changed", yes=True)
    miss(database)
    with database.write() as connection:
        connection.execute(update(m.ClaimEvent).values(preset_id=old))
    reconcile_preset(database, settings, old)
    finish_builds(database)
    before = counted(scrape())
    with database.write() as connection:
        # A drained template is deleted immediately, with builds that ended a moment ago.
        connection.execute(update(m.Preset).where(m.Preset.id == old).values(removed_at=database.now(connection)))
    assert prune(database, settings).presets == 1
    assert counted(scrape()) == before
    assert before[f"prebuild_created_total{{{POOL}}}"] == 2
    assert before[f"prebuild_claims_total{{{POOL},result=miss}}"] == 1


def test_a_name_that_is_taken_again_begins_anew(
    database: Database, settings: Settings, scrape: Callable[[], Scrape]
) -> None:
    declare(database, settings, 1)
    identity = preset_id(database)
    fill(database, settings)
    nothing = load_text("schema: 1\ntemplates: []\n")
    apply(database, settings, nothing, ApplyOptions(actor="t", prune=True, yes=True))
    reconcile_preset(database, settings, identity)
    finish_builds(database)
    assert scrape()[f"prebuild_created_total{{{POOL}}}"] == 1
    assert prune(database, settings).presets == 1
    assert f"prebuild_created_total{{{POOL}}}" not in scrape()
    declare(database, settings, 1)
    assert scrape()[f"prebuild_created_total{{{POOL}}}"] == 0


def test_a_start_given_to_a_person_who_waits_stays_counted(
    database: Database, settings: Settings, scrape: Callable[[], Scrape]
) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    assert scrape()[f"prebuild_created_total{{{POOL}}}"] == 1
    assert isinstance(claim(database, ClaimRequest("ada", [PRESET], wait=True)), BeingBuilt)
    found = scrape()
    assert found[f"prebuild_created_total{{{POOL}}}"] == 1
    finish_builds(database)
    assert scrape()[f"prebuild_created_total{{{POOL}}}"] == 1
    assert found[f"prebuild_claims_total{{{POOL},result=miss}}"] == 1
