"""A miss tells a program when to ask again, and whether that can help."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError, Remedy, RemedyKind
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill, hour_ahead, jump, turn
from tests.support.pool_files import load_text

TWO = """
schema: 1
templates:
  - name: dev
    provisioner: simulated
    config: {start: echo}
    presets: [{name: a, desired: 1}, {name: b, desired: 1}]
"""


def missed(database: Database, *, wait: bool = False) -> ClaimMissError:
    with pytest.raises(ClaimMissError) as miss:
        claim(database, ClaimRequest("ada", [PRESET], wait=wait))
    return miss.value


def told(database: Database) -> tuple[str, int, bool]:
    miss = missed(database)
    return miss.reason, miss.retry_after, miss.retryable


def test_a_start_is_expected_after_the_median_of_those_before(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    with database.write() as connection:
        starts = connection.execute(select(m.Build.id, m.Build.created_at)).all()
        for row, seconds in zip(starts, (900, 100, 140), strict=True):
            completed = row.created_at + timedelta(seconds=seconds)
            connection.execute(update(m.Build).where(m.Build.id == row.id).values(completed_at=completed))
    for owner in ("b", "c", "d"):
        claim(database, ClaimRequest(owner, [PRESET]))
    turn(database, settings)
    assert told(database) == ("starting", 140, True)
    jump(database, 39)
    reason, seconds, retryable = told(database)
    assert (reason, retryable) == ("starting", True)
    assert 95 <= seconds <= 101
    jump(database, 3600)
    assert told(database) == ("starting", 1, True)


def test_without_a_measured_start_it_is_a_minute(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    assert told(database) == ("empty_pool", 60, True)
    turn(database, settings)
    assert told(database) == ("starting", 60, True)


@pytest.mark.parametrize(
    ("desired", "extra", "reason", "retryable"),
    [
        (0, "", "not_desired", False),
        (0, 'timezone: UTC, schedules: [{cron: "* HOUR * * *", desired: 0}]', "not_desired", False),
        (0, 'timezone: UTC, schedules: [{cron: "* HOUR * * *", desired: 4}]', "not_desired", True),
        (1, "", "empty_pool", True),
    ],
)
def test_whether_time_alone_can_help(
    database: Database, settings: Settings, desired: int, extra: str, reason: str, *, retryable: bool
) -> None:
    declare(database, settings, desired, extra=extra.replace("HOUR", str(hour_ahead(database).hour)))
    assert told(database) == (reason, 60, retryable)


UNTIL = 600
"""Seconds that a pause lasts."""
DAILY = 'timezone: UTC, schedules: [{cron: "* HOUR * * *", desired: 4}]'
RESUME, UNBLOCK, WAIT = RemedyKind.RESUME, RemedyKind.UNBLOCK_POOL, RemedyKind.WAIT_FOR_WORKSPACE


# The columns of the table.
@pytest.mark.parametrize(
    ("desired", "paused", "blocked", "end", "remedy"),
    [
        ("1", None, False, "now", WAIT),
        ("0", None, False, "never", WAIT),
        ("daily", None, False, "schedule", WAIT),
        ("1", {}, False, "never", RESUME),
        ("1", {"seconds": UNTIL}, False, "pause", WAIT),
        ("0", {"seconds": UNTIL}, False, "never", WAIT),
        ("waits", {"seconds": UNTIL}, False, "pause", WAIT),
        ("waits", {}, False, "never", RESUME),
        ("daily", {}, False, "never", RESUME),
        ("daily", {"seconds": UNTIL}, False, "schedule", WAIT),
        ("1", None, True, "never", UNBLOCK),
        ("daily", None, True, "never", UNBLOCK),
        ("1", {"seconds": UNTIL}, True, "never", UNBLOCK),
    ],
)
@pytest.mark.parametrize("name", [PRESET, ""])
def test_what_ends_a_miss(
    database: Database, settings: Settings, name: str, desired: str, paused: dict[str, Any] | None, *,
    blocked: bool, end: str, remedy: RemedyKind,
) -> None:  # fmt: skip
    with database.read() as connection:
        now = database.now(connection)
    begins = hour_ahead(database)
    extra = DAILY.replace("HOUR", str(begins.hour)) if desired == "daily" else ""
    declare(database, settings, int(desired == "1"), extra=extra)
    if paused is not None:
        pause(database, name, actor="op", reason="", **paused)
    if blocked:
        with database.write() as connection:
            connection.execute(update(m.Preset).values(status=PresetStatus.HARD_LIMITED, status_reason="3 failed"))
    miss = missed(database, wait=desired == "waits")
    assert (miss.reason, miss.retry_after) == ("empty_pool" if desired == "1" else "not_desired", 60)
    assert miss.remedy
    subjects = {RESUME: name, UNBLOCK: PRESET, WAIT: ""}
    assert (miss.remedy.kind, miss.remedy.subject) == (remedy, subjects[remedy])
    assert miss.retryable is (end != "never")
    if end == "pause":
        assert miss.next_change
        assert UNTIL <= (miss.next_change - now).total_seconds() <= UNTIL + 30
    else:
        assert miss.next_change == (begins if end == "schedule" else None)


def test_another_pool_may_be_built_earlier(database: Database, settings: Settings) -> None:
    apply(database, settings, load_text(TWO), ApplyOptions(actor="t"))
    pause(database, "dev/a", actor="op", reason="")
    with pytest.raises(ClaimMissError, match="dev/a, dev/b") as miss:
        claim(database, ClaimRequest("ada", ["dev/a", "dev/b"]))
    assert (miss.value.reason, miss.value.retryable) == ("empty_pool", True)
    assert miss.value.remedy == Remedy(WAIT)
    with database.write() as connection:
        connection.execute(update(m.Preset).where(m.Preset.name == "b").values(status=PresetStatus.HARD_LIMITED))
    with pytest.raises(ClaimMissError, match="dev/a is paused by op") as miss:
        claim(database, ClaimRequest("ada", ["dev/b", "dev/a"]))
    assert (miss.value.remedy, miss.value.retryable) == (Remedy(RESUME, "dev/a"), False)


def test_the_pause_that_somebody_has_to_end_is_named(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    pause(database, "", actor="op", reason="", seconds=UNTIL)
    pause(database, PRESET, actor="op", reason="")
    miss = missed(database, wait=True)
    assert (miss.remedy, miss.retryable, miss.next_change) == (Remedy(RESUME, PRESET), False, None)


def test_another_version_is_offered(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    with database.read() as connection:
        version = connection.execute(select(m.TemplateVersion.name)).scalar_one()
    declare(database, settings, 1, start="echo other")
    old = f"{PRESET}@{version}"
    with pytest.raises(ClaimMissError) as miss:
        claim(database, ClaimRequest("ada", [old]))
    assert (miss.value.reason, miss.value.retryable, miss.value.next_change) == ("inactive", False, None)
    assert miss.value.remedy == Remedy(RemedyKind.CLAIM_WORKSPACE, PRESET)
    apply(database, settings, load_text("schema: 1\ntemplates: []\n"), ApplyOptions(actor="t", prune=True, yes=True))
    with pytest.raises(ClaimMissError) as miss:
        claim(database, ClaimRequest("ada", [old]))
    assert miss.value.remedy == Remedy(RemedyKind.LIST_POOLS)
