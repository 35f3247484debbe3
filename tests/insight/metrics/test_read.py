"""The exporter's metrics are right, and take a fixed number of statements."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, insert, select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.fleet.liveness import note_tick
from prebuild_tasks.insight.metrics.catalog import METRICS
from prebuild_tasks.insight.metrics.exporter import Exporter, render
from prebuild_tasks.insight.metrics.families import cumulated
from prebuild_tasks.insight.status.pools import pools
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.pools import operations
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import counters
from prebuild_tasks.schema import tables as m
from tests.insight.metrics.scraping import POOL, Scrape, exporter, live_a_little, scrape
from tests.support.builders import PRESET, declare, fill, finish_builds, jump, staffed, turn
from tests.support.metrics import full_name
from tests.support.pool_files import load_text

__all__ = ["exporter", "scrape"]


def test_a_pool(database: Database, settings: Settings, scrape: Callable[[], Scrape]) -> None:
    declare(database, settings, 3, organizations="[{name: default, max_workspaces: 20}]")
    fill(database, settings)
    claim(database, ClaimRequest("ada", [PRESET]))
    turn(database, settings)
    jump(database, 100)
    found = scrape()
    expected = {
        "prebuild_up": 1, f"prebuild_desired{{{POOL}}}": 3, f"prebuild_running{{{POOL}}}": 2,
        f"prebuild_eligible{{{POOL}}}": 2, f"prebuild_starting{{{POOL}}}": 1, f"prebuild_outdated{{{POOL}}}": 0,
        f"prebuild_second_choices{{{POOL}}}": 0,
        f"prebuild_created_total{{{POOL}}}": 4, f"prebuild_failed_total{{{POOL}}}": 0,
        f"prebuild_claimed_total{{{POOL}}}": 1, f"prebuild_claims_total{{{POOL},result=hit}}": 1,
        f"prebuild_claims_total{{{POOL},result=miss}}": 0, f"prebuild_claim_duration_seconds_count{{{POOL}}}": 1,
        f"prebuild_creation_duration_seconds_count{{{POOL}}}": 3,
        "prebuild_builds_total{template=dev,organization=default,transition=start,status=succeeded}": 3,
        "prebuild_builds_in_flight{template=dev,organization=default,transition=start,status=pending}": 1,
        "prebuild_builds_in_flight{template=dev,organization=default,transition=claim,status=pending}": 1,
        "prebuild_build_duration_seconds_count{template=dev,organization=default,transition=start}": 3,
        "prebuild_organization_workspaces{organization=default,state=claimed}": 1,
        "prebuild_organization_workspaces{organization=default,state=prebuild}": 3,
        "prebuild_organization_workspaces_limit{organization=default}": 20,
        "prebuild_webhook_deliveries{state=pending}": 0, "prebuild_webhook_deliveries{state=dead}": 0,
        "prebuild_webhook_deliveries_oldest_age_seconds": 0,
        "prebuild_processes{role=worker}": 0, "prebuild_reconciliation_paused": 0,
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    assert 100 <= found["prebuild_builds_pending_oldest_age_seconds{queue=prebuild.builds}"] < 160
    assert "prebuild_preset_hard_limited" not in " ".join(found)


def test_old_versions_are_counted_under_the_same_name(
    database: Database, settings: Settings, scrape: Callable[[], Scrape]
) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    declare(database, settings, 3, start="true # changed", yes=True)
    found = scrape()
    assert [found[f"prebuild_{name}{{{POOL}}}"] for name in ("desired", "running", "outdated")] == [3, 0, 2]
    assert found[f"prebuild_created_total{{{POOL}}}"] == 2


def test_histograms_are_right(database: Database, settings: Settings, scrape: Callable[[], Scrape]) -> None:
    declare(database, settings, 5)
    turn(database, settings)
    finish_builds(database)
    with database.write() as connection:
        rows = connection.execute(select(m.Build.id, m.Build.completed_at)).all()
        for row, took in zip(rows, (0.5, 1.0, 45, 599, 5000), strict=True):
            began = row.completed_at - timedelta(seconds=took)
            connection.execute(update(m.Build).where(m.Build.id == row.id).values(created_at=began, started_at=began))
    found = scrape()
    for name, labels in (
        ("build", "template=dev,organization=default,transition=start"),
        ("creation", POOL),
    ):
        values = [
            found[f"prebuild_{name}_duration_seconds_bucket{{{labels},le={bound}}}"]
            for bound in ("1.0", "30.0", "60.0", "600.0", "3600.0", "+Inf")
        ]
        assert values == [2, 2, 3, 4, 4, 5], name
        assert found[f"prebuild_{name}_duration_seconds_sum{{{labels}}}"] == pytest.approx(5645.5)


def test_counts_of_other_bounds_keep_their_place() -> None:
    kept = {"1.0": 2.0, "7.0": 3.0, "90.0": 1.0, "+Inf": 1.0, "sum": 300.0}
    assert cumulated(kept, (1.0, 5.0, 10.0)) == [("1.0", 2), ("5.0", 2), ("10.0", 5), ("+Inf", 7)]


def test_a_tick_is_observed(database: Database, settings: Settings, scrape: Callable[[], Scrape]) -> None:
    declare(database, settings, 0)
    for seconds in (0.004, 0.2, 99.0):
        with database.read() as connection:
            now = database.now(connection)
        note_tick(database, now, {"tick": 1}, seconds)
    found = scrape()
    name = "prebuild_reconciliation_duration_seconds"
    assert [found[f"{name}_bucket{{le={bound}}}"] for bound in ("0.01", "0.25", "30.0", "+Inf")] == [1, 2, 2, 3]
    assert found[f"{name}_sum"] == pytest.approx(99.204)
    assert 0 <= found["prebuild_tick_age_seconds"] < 30
    assert found["prebuild_tick_stale"] == 0


def test_who_is_alive(database: Database, settings: Settings, scrape: Callable[[], Scrape]) -> None:
    declare(database, settings, 0)
    staffed(database, settings, "worker", "builds")
    jump(database, 600)
    staffed(database, settings, "worker")
    found = scrape()
    assert {role: found[f"prebuild_processes{{role={role}}}"] for role in ("worker", "builds", "beat")} == {
        "worker": 1, "builds": 0, "beat": 0
    }  # fmt: skip
    assert found["prebuild_heartbeat_age_seconds{role=worker}"] < 60
    assert 600 <= found["prebuild_heartbeat_age_seconds{role=builds}"] < 660
    assert "prebuild_heartbeat_age_seconds{role=beat}" not in found


def test_strays_by_state(database: Database, settings: Settings, scrape: Callable[[], Scrape]) -> None:
    with database.write() as connection:
        now = database.now(connection)
        for number, (claimed, waiting, by) in enumerate(
            ((True, False, ""), (False, True, ""), (False, True, ""), (False, True, "ada"), (False, False, ""))
        ):
            connection.execute(
                insert(m.Stray).values(
                    provisioner="process", host="h", workspace_id=str(number), resource_id="r", first_seen_at=now,
                    claimed=claimed, waiting=waiting, confirmed_by=by,
                )
            )  # fmt: skip
    found = scrape()
    states = {
        state: found[f"prebuild_strays{{state={state}}}"] for state in ("claimed", "waiting", "confirmed", "grace")
    }
    assert states == {"claimed": 1, "waiting": 2, "confirmed": 1, "grace": 1}


def test_pauses_have_their_length(database: Database, settings: Settings, scrape: Callable[[], Scrape]) -> None:
    declare(database, settings, 2)
    operations.pause(database, PRESET, actor="ada")
    with database.write() as connection:
        since = (database.now(connection) - timedelta(seconds=3600)).isoformat()
        connection.execute(update(m.Preset).values(paused={"by": "ada", "since": since, "until": None}))
    found = scrape()
    assert found[f"prebuild_preset_paused_seconds{{{POOL}}}"] == pytest.approx(3600, abs=60)
    assert found[f"prebuild_shortfall{{{POOL},reason=paused}}"] == 2
    assert found["prebuild_reconciliation_paused"] == 0
    operations.resume(database, PRESET, actor="ada")
    operations.pause(database, actor="ada")
    found = scrape()
    assert (found["prebuild_reconciliation_paused"], found[f"prebuild_preset_paused_seconds{{{POOL}}}"]) == (1, 0)
    assert 0 < found["prebuild_reconciliation_paused_seconds"] < 60
    operations.resume(database, actor="ada")
    assert scrape()["prebuild_reconciliation_paused_seconds"] == 0


def test_the_reason_is_the_one_that_status_names(
    database: Database, settings: Settings, exporter: Exporter, scrape: Callable[[], Scrape]
) -> None:
    def reasons() -> tuple[dict[str, float], str]:
        found = {name: value for name, value in scrape().items() if name.startswith("prebuild_shortfall")}
        [pool] = pools(database, settings)
        return found, pool.reason

    declare(database, settings, 2, organizations="[{name: default, max_workspaces: 2}]")
    staffed(database, settings)
    assert reasons() == ({f"prebuild_shortfall{{{POOL},reason=not_yet}}": 2}, "not_yet")
    turn(database, settings)
    assert reasons() == ({f"prebuild_shortfall{{{POOL},reason=starting}}": 2}, "starting")
    finish_builds(database)
    assert reasons() == ({f"prebuild_shortfall{{{POOL},reason=none}}": 0}, "none")
    claim(database, ClaimRequest("ada", [PRESET]))
    assert reasons() == ({f"prebuild_shortfall{{{POOL},reason=organization_quota}}": 1}, "organization_quota")
    for status in (PresetStatus.HARD_LIMITED, PresetStatus.VALIDATION_FAILED):
        with database.write() as connection:
            connection.execute(update(m.Preset).values(status=status))
        assert reasons() == ({f"prebuild_shortfall{{{POOL},reason={status.value}}}": 1}, status.value)
        assert scrape()[f"prebuild_preset_{status.value}{{{POOL}}}"] == 1


def test_statements_do_not_grow_with_the_pools(database: Database, settings: Settings, exporter: Exporter) -> None:
    def statements() -> int:
        seen: list[str] = []
        with_each = lambda _c, _k, statement, *_: seen.append(statement)  # noqa: E731
        event.listen(exporter.database.engine, "before_cursor_execute", with_each)
        exporter.read_or_raise()
        event.remove(exporter.database.engine, "before_cursor_execute", with_each)
        return len(seen)

    declare(database, settings, 1)
    exporter.read_or_raise()
    few = statements()
    presets = "\n".join(f"      - {{name: p{number}, desired: 2}}" for number in range(30))
    text = f"schema: 1\ntemplates:\n  - name: many\n    config: {{start: 'true'}}\n    presets:\n{presets}\n"
    apply(database, settings, load_text(text), ApplyOptions(actor="test"))
    for number in range(30):
        fill(database, settings, f"many/p{number}")
        claim(database, ClaimRequest("ada", [f"many/p{number}"]))
    with database.write() as connection:
        counters.move_mark(connection, database.now(connection) + counters.LAG)
    assert statements() == few
    assert few <= 25, "a reading is not free: it is done four times a minute"


def test_every_metric_is_exported_as_it_is_declared(
    database: Database, database_url: str, redis_url: str, settings: Settings
) -> None:
    live_a_little(database, settings)
    declare(database, settings, 1, organizations="[{name: default, max_workspaces: 20}]")
    turn(database, settings)
    staffed(database, settings)
    families = {}
    for status in (PresetStatus.HARD_LIMITED, PresetStatus.VALIDATION_FAILED):
        with database.write() as connection:
            connection.execute(update(m.Preset).values(status=status))
        exporter = Exporter(settings.model_copy(update={"database_url": database_url, "redis_url": redis_url}), "0")
        found = text_string_to_metric_families(render(exporter.families(exporter.read())))
        families |= {family.name: family for family in found}
        exporter.close()
    assert sorted(families) == sorted(METRICS)
    for name, metric in METRICS.items():
        labels = {label for sample in families[name].samples for label in sample.labels} - {"le"}
        assert (families[name].type, labels) == (metric.kind, set(metric.labels)), name


def test_the_documentation_names_every_metric() -> None:
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(prebuild_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    assert rows == [
        (full_name(metric), metric.kind, ", ".join(f"`{label}`" for label in metric.labels) or "-", metric.meaning)
        for metric in METRICS.values()
    ]
