"""`prebuild report`, computed by both databases from known events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError
from prebuild_tasks.insight.report.compile import compile_report
from prebuild_tasks.insight.report.types import REMOVED, Report
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill, finish_builds
from tests.support.past import PastEvents

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def ago(span: timedelta) -> Callable[[datetime], datetime]:
    return lambda now: now - span


def made(database: Database, settings: Settings, days: float = 7, **options: Any) -> Report:
    return compile_report(database, settings, since=ago(days * DAY), **options)


@pytest.fixture
def past(database: Database, settings: Settings) -> PastEvents:
    declare(database, settings, 0, extra="cost_per_hour: 0.5, timezone: Asia/Kathmandu")
    past = PastEvents(database)
    past.installed(past.now - 400 * DAY)
    return past


def test_requests_count_once_and_as_a_miss_if_they_ever_missed(
    database: Database, settings: Settings, past: PastEvents
) -> None:
    at = past.now - DAY
    workspace = past.workspace(at)
    past.claim(at)
    past.claim(at, hit=False, request="waits")
    past.claim(at + HOUR, hit=False, workspace=workspace, request="waits")
    past.claim(at, hit=False, request="later")
    past.claim(at + HOUR, request="later")
    past.claim(at, hit=False)
    past.claim(past.now - 8 * DAY)  # before
    past.write()
    total = made(database, settings).total
    assert (total.claims, total.hits, total.misses, total.cold_starts, total.hit_rate) == (4, 1, 3, 1, 0.25)
    assert made(database, settings, 9).total.claims == 5
    assert made(database, settings, 9, until=ago(2 * DAY)).total.claims == 1


def test_heat_maps_and_curves_hold_every_request(database: Database, settings: Settings, past: PastEvents) -> None:
    at = (past.now - 2 * DAY).replace(hour=3, minute=20)  # 09:05 in Kathmandu
    for hit in (True, True, False):
        past.claim(at, hit=hit)
    past.write()
    found = made(database, settings)
    [pool] = found.pools
    assert pool.heat.claims[at.weekday()][9] == 3
    assert pool.heat.misses[at.weekday()][9] == 1
    assert sum(map(sum, found.heat.claims)) == 3
    assert [(hits, misses) for _, hits, misses in found.hit_curve] == [(2, 1)]
    assert found.hit_curve[0][0] <= at < found.hit_curve[0][0] + timedelta(seconds=found.width)


@pytest.mark.parametrize(
    ("values", "p50", "p95"),
    [([7], 7, 7), ([1, 2], 1, 2), ([4, 1, 3, 2], 2, 4), (list(range(1, 21)), 10, 19), (list(range(1, 101)), 50, 95)],
)
def test_percentiles_are_values_that_occurred(
    database: Database, settings: Settings, past: PastEvents, values: list[int], p50: int, p95: int
) -> None:
    at = (past.now - DAY).replace(minute=20)  # in one interval of the curve, whenever the test runs
    for number in values:
        past.claim(at, latency=float(number))
        past.workspace(at, ready=at + timedelta(seconds=number), claimed=at + timedelta(seconds=number))
    past.claim(past.now - DAY, hit=False, latency=9999.0)
    past.write()
    found = made(database, settings)
    for figures in (found.total, found.pools[0].figures):
        for measured in (figures.claim_latency_ms, figures.time_to_ready_s):
            assert measured is not None
            assert (measured.count, measured.p50, measured.p95) == (len(values), p50, p95)
    assert [(v.count, v.p95) for _, v in found.ready_curve] == [(len(values), p95)]


# Fixtures, and the columns of a case.
@pytest.mark.parametrize(
    ("ready", "claimed", "gone", "hours"),
    [
        (24, None, None, 24),  # still there
        (24, 20, None, 4),  # claimed
        (24, 20, 10, 4),  # and deleted later
        (24, None, 21, 3),  # chosen for deletion: no longer claimable
        (24 * 9, None, 24 * 6.5, 12),  # ready before the time asked about
        (24 * 9, 24 * 8, None, 0),  # and gone before it
        (24, 24, None, 0),  # built for a person
        (None, None, None, 0),  # never ready
    ],
)
def test_idle_is_the_time_from_ready_to_claimed_or_chosen_for_deletion(
    database: Database,
    settings: Settings,
    past: PastEvents,
    ready: float | None,
    claimed: float | None,
    gone: float | None,
    hours: float,
) -> None:
    def at(hours_ago: float | None) -> datetime | None:
        return None if hours_ago is None else past.now - hours_ago * HOUR

    past.workspace(past.now - 300 * HOUR, ready=at(ready), claimed=at(claimed), gone=at(gone))
    past.write()
    figures = made(database, settings).pools[0].figures
    assert figures.idle_hours == pytest.approx(hours, abs=0.01)
    assert figures.idle_cost == pytest.approx(hours * 0.5, abs=0.01)


def test_waste_counts_what_was_ready_and_never_claimed(
    database: Database, settings: Settings, past: PastEvents
) -> None:
    at = past.now - DAY
    past.workspace(at - HOUR, ready=at, gone=at + HOUR, reason="expired")
    past.workspace(at - HOUR, ready=at, gone=at + HOUR, reason="unhealthy")
    again = past.workspace(at - HOUR, ready=at, gone=at + HOUR, reason="expired")
    past.build(again, 3, at + 2 * HOUR, at + 2 * HOUR, transition=Transition.DELETE, reason="retry")
    past.workspace(at - HOUR, ready=at, claimed=at, gone=at + HOUR, reason="released")
    past.workspace(at - HOUR, gone=at + HOUR, reason="clean_up")
    past.write()
    figures = made(database, settings).total
    assert (figures.wasted_builds, figures.wasted_by_reason) == (3, {"expired": 2, "unhealthy": 1})
    assert (figures.built, figures.failed_builds) == (4, 1)


def test_versions_of_a_pool_are_one_line_each_at_its_own_price(database: Database, settings: Settings) -> None:
    declare(database, settings, 0, extra="cost_per_hour: 1")
    old = PastEvents(database)
    declare(database, settings, 0, start="echo new", extra="cost_per_hour: 3, timezone: Europe/Berlin")
    new = PastEvents(database)
    assert old.preset_id != new.preset_id
    for past in (old, new):
        past.installed(past.now - 40 * DAY)
        past.workspace(past.now - 3 * HOUR, ready=past.now - 2 * HOUR, claimed=past.now - HOUR)
        past.claim(past.now - HOUR, latency=float(past.preset_id))
        past.write()
    [pool] = made(database, settings).pools
    assert (pool.name, pool.timezone, pool.active) == (PRESET, "Europe/Berlin", True)
    assert (pool.figures.claims, pool.figures.built) == (2, 2)
    assert pool.figures.idle_hours == pytest.approx(2, abs=0.01)
    assert pool.figures.idle_cost == pytest.approx(4, abs=0.01)
    assert pool.figures.claim_latency_ms is not None
    assert pool.figures.claim_latency_ms.count == 2
    with database.read() as connection:
        name = connection.execute(m.TemplateVersion.__table__.select().order_by(m.TemplateVersion.id)).first()
    assert name is not None
    [only] = made(database, settings, preset=f"{PRESET}@{name.name}").pools
    assert (only.figures.claims, only.active) == (1, False)


def test_one_preset_only(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    past = PastEvents(database)
    past.claim(past.now - HOUR)
    past.write()
    with database.write() as connection:
        connection.execute(update(m.ClaimEvent).values(preset_id=None))
    past.claim(past.now - HOUR, hit=False)
    past.write()
    found = made(database, settings)
    assert [(pool.name, pool.figures.hits, pool.figures.misses) for pool in found.pools] == [
        (REMOVED, 1, 0),
        (PRESET, 0, 1),
    ]
    assert found.total.claims == 2
    only = made(database, settings, preset=PRESET)
    assert [pool.name for pool in only.pools] == [PRESET]
    assert only.total.claims == 1
    with pytest.raises(NotFoundError, match="dev/none"):
        made(database, settings, preset="dev/none")
    with pytest.raises(InputError, match="UTC is empty"):
        made(database, settings, until=ago(8 * DAY))


def test_what_there_is_no_data_of_is_noted(database: Database, settings: Settings, past: PastEvents) -> None:
    found = made(database, settings, 7)
    assert (found.notes, found.claims_since, found.builds_since) == ((), found.since, found.since)
    [builds] = made(database, settings, 60).notes
    assert builds.startswith(f"builds and idle hours since {past.now - 30 * DAY:%Y-%m-%d}")
    assert "PREBUILD_RETENTION_BUILDS" in builds
    assert len(made(database, settings, 200).notes) == 2
    past.installed(past.now - 2 * DAY)
    found = made(database, settings, 60)
    assert found.claims_since == found.builds_since == past.now - 2 * DAY
    [note] = found.notes
    assert "when this installation was created" in note


def test_the_real_life_of_a_pool(database: Database, settings: Settings) -> None:
    """The service's own rows add up: two ready, two claims, a miss for which one is built, one failure."""
    declare(database, settings, 2)
    fill(database, settings)
    for owner in ("ada", "bob"):
        claim(database, ClaimRequest(owner, [PRESET]))
    begun = claim(database, ClaimRequest("eve", [PRESET], wait=True, request_id="eves"))
    assert isinstance(begun, BeingBuilt)
    assert "eve" in str(begun.error())
    finish_builds(database)
    claim(database, ClaimRequest("eve", [PRESET], wait=True, request_id="eves", repeated=True))
    total = compile_report(database, settings, since=ago(HOUR)).total
    assert (total.hits, total.misses, total.cold_starts, total.built, total.failed_builds) == (2, 1, 1, 3, 0)
    assert total.time_to_ready_s is not None
    assert total.time_to_ready_s.count == 3, "a handover is not a start"


def test_a_fixed_number_of_statements(database: Database, settings: Settings) -> None:
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))

    def count() -> int:
        statements.clear()
        made(database, settings)
        return len([s for s in statements if not s.startswith(("BEGIN", "COMMIT", "ROLLBACK"))])

    nothing = count()
    for number in range(3):
        declare(database, settings, 0, start=f"echo {number}", extra="schedules: [], cost_per_hour: 1")
        past = PastEvents(database)
        for hours in range(1, 30):
            at = past.now - hours * HOUR
            workspace = past.workspace(at, ready=at + HOUR / 60, claimed=at + HOUR / 30)
            past.claim(at, hit=bool(hours % 3), workspace=workspace)
        past.write()
    assert count() == nothing == 12


def test_a_failed_start_has_no_time_to_ready(database: Database, settings: Settings, past: PastEvents) -> None:
    past.workspace(past.now - HOUR)
    canceled = past.workspace(past.now - HOUR)
    past.build(canceled, 2, past.now - HOUR, past.now - HOUR, status=BuildStatus.CANCELED)
    past.write()
    total = made(database, settings).total
    assert (total.time_to_ready_s, total.built, total.failed_builds) == (None, 0, 2)
