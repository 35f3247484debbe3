"""The metrics counted one claim several times, unlike the report: a claim that waited missed, and missed again when a
build was begun for it; one that missed and then got a prebuild built meanwhile was a miss and a hit; and each
repetition of a missed request was another miss. The report counted one miss, but included the latency of that hit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.insight.report.compile import compile_report
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.schema.counters import read_totals
from tests.support.builders import PRESET, declare, fill, finish_builds

Story = Callable[[Database, Settings], None]


def _missed(database: Database, request: ClaimRequest) -> None:
    with pytest.raises(ClaimMissError):
        claim(database, request)


def _one_is_begun_later(database: Database, _settings: Settings) -> None:
    request = ClaimRequest("ada", [PRESET], wait=True)
    pause(database, PRESET, actor="test")
    _missed(database, request)
    resume(database, PRESET, actor="test")
    assert isinstance(claim(database, replace(request, repeated=True)), BeingBuilt)
    finish_builds(database)
    assert claim(database, replace(request, repeated=True)).answer.owner == "ada"


def _the_pool_has_one_later(database: Database, settings: Settings) -> None:
    request = ClaimRequest("ada", [PRESET])
    _missed(database, request)
    fill(database, settings)
    assert claim(database, request).answer.owner == "ada"


def _it_is_sent_three_times(database: Database, _settings: Settings) -> None:
    request = ClaimRequest("ada", [PRESET])
    for _ in range(3):
        _missed(database, request)


@pytest.mark.parametrize(
    ("story", "cold"), [(_one_is_begun_later, 1), (_the_pool_has_one_later, 0), (_it_is_sent_three_times, 0)]
)
def test_as_a_miss_by_the_metrics_and_by_the_report(
    database: Database, settings: Settings, story: Story, cold: int
) -> None:
    declare(database, settings, 1)
    story(database, settings)
    with database.snapshot() as connection:
        counted = {(key.series, key.detail): n for key, n in read_totals(connection).items() if n}
    assert {key: n for key, n in counted.items() if key[0] in ("claims", "misses", "claim_seconds")} == {
        ("claims", "miss"): 1,
        ("misses", "empty_pool"): 1,
    }
    soon = timedelta(seconds=1)
    total = compile_report(
        database, settings, since=lambda now: now - timedelta(hours=1), until=lambda now: now + soon
    ).total
    assert (total.claims, total.hits, total.misses, total.cold_starts) == (1, 0, 1, cold)
    assert total.claim_latency_ms is None


def test_a_span_that_begins_between_the_two_counts_neither(database: Database, settings: Settings) -> None:
    """Adjacent reports add up: the first has the miss, and the request's later success is not a hit in the second."""
    declare(database, settings, 1)
    request = ClaimRequest("ada", [PRESET])
    _missed(database, request)
    with database.read() as connection:
        between = database.now(connection)
    fill(database, settings)
    claim(database, request)
    first = compile_report(
        database, settings, since=lambda now: now - timedelta(hours=1), until=lambda _: between
    ).total
    second = compile_report(database, settings, since=lambda _: between).total
    assert [(found.hits, found.misses) for found in (first, second)] == [(0, 1), (0, 0)]
