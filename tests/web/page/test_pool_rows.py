"""The rows of the table of pools: their order, their filters, and what each shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, update

from prebuild_tasks.access import EVERYTHING, Reach
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight import explain_preset, pool_lines, pools
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.reconcile import Reason
from prebuild_tasks.schema import counters
from prebuild_tasks.schema import tables as m
from prebuild_tasks.web.page.pool_rows import PoolFilter, TableRow, choices, pool_rows
from tests.support.builders import PRESET, declare, fill, finish_builds, staffed, turn
from tests.support.organizations import fill_organizations
from tests.support.past import PastEvents

ROW = TableRow(
    ref=PresetRef("dev", "small"), organization="acme", desired=3, eligible=1,
    second_choices=0, claimed=0, starting=0, failed=0, failed_deletions=0, state="short", reason="starting",
    sentence="starting", next_action="", last_error="", next_change_at=None, next_desired=0, timezone="UTC",
    hit_rate=None, claims=0,
)  # fmt: skip


def rows(database: Database, settings: Settings, reach: Reach = EVERYTHING) -> list[TableRow]:
    return pool_rows(pool_lines(database, settings, reach))


def test_a_row_shows_what_status_and_explain_show(database: Database, settings: Settings) -> None:
    declare(database, settings, 3, extra='timezone: UTC, schedules: [{cron: "* * * * *", desired: 4}]')
    staffed(database, settings)
    turn(database, settings)
    with database.write() as connection:
        running = {"status": BuildStatus.RUNNING, "started_at": database.now(connection) - timedelta(minutes=3)}
        connection.execute(update(m.Build).values(running))
    [row], [status] = rows(database, settings), pools(database, settings)
    explained = explain_preset(database, settings, None, PRESET)
    assert (row.pool, row.desired, row.eligible, row.starting) == (PRESET, 4, 0, status.starting)
    assert row.state == "empty"
    assert row.reason == status.reason == "starting"
    assert row.sentence == explained.explanation.headline
    assert "has been running for 3 min" in row.sentence
    assert row.next_action == status.next_action
    assert (row.next_change_at, row.hit_percent) == (None, "")


@pytest.mark.parametrize(
    ("sentence", "next_action", "why"),
    [
        ("", "", ""),
        ("", "delete 1", ""),
        ("starting", "", "starting"),
        ("starting", "wait for 2", "starting; wait for 2"),
        ("paused", "paused by ada", "paused by ada"),
        ("hard limited", "hard limited", "hard limited"),
    ],
)
def test_a_row_says_in_one_sentence_why_it_is_short(sentence: str, next_action: str, why: str) -> None:
    assert replace(ROW, sentence=sentence, next_action=next_action).why == why


def test_the_next_change_is_that_of_the_schedule(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, extra='timezone: Asia/Kathmandu, schedules: [{cron: "* 9 * * *", desired: 2}]')
    [row] = rows(database, settings)
    assert row.next_change_at is not None
    assert (row.next_change_at.minute, row.timezone) == (15, "Asia/Kathmandu")
    assert {row.desired, row.next_desired} == {1, 2}


@pytest.mark.parametrize("status", ["hard_limited", "validation_failed"])
def test_states_that_wait_for_a_person(database: Database, settings: Settings, status: str) -> None:
    declare(database, settings, 1)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=status))
    assert [row.state for row in rows(database, settings)] == [status]
    with database.write() as connection:
        connection.execute(update(m.Preset).values(paused={"by": "ada"}))
    assert [row.state for row in rows(database, settings)] == ["paused"]


@pytest.mark.parametrize("moved", [False, True])
def test_the_hit_rate_of_today(database: Database, settings: Settings, *, moved: bool) -> None:
    declare(database, settings, 0)
    past = PastEvents(database)
    midnight = past.now.replace(hour=0, minute=0, second=0, microsecond=0)
    for _ in range(3):
        past.claim(midnight)
    past.claim(midnight, hit=False)
    past.claim(midnight - timedelta(seconds=1), hit=False)
    past.write()
    if moved:
        with database.write() as connection:
            counters.move_mark(connection, past.now + counters.LAG)
    [row] = rows(database, settings)
    assert (row.hit_percent, row.hit_rate, row.claims) == ("75 %", 0.75, 4)
    with database.write() as connection:
        counters.move_mark(connection, past.now + timedelta(days=4))
    assert rows(database, settings)[0].claims == 0, "counts of former days are deleted"


def test_only_pools_within_reach_are_shown(database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    assert [row.pool for row in rows(database, settings)] == ["dev/large", "dev/small", "ops/small"]
    [row] = rows(database, settings, Reach(organization="umbrella"))
    assert (row.pool, row.organization, row.state, row.sentence) == ("ops/small", "umbrella", "full", "")
    assert [row.pool for row in rows(database, settings, Reach(presets=("dev/large",)))] == ["dev/large"]


def test_the_number_of_statements_does_not_grow(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    sent: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    rows(database, settings)
    before = len(sent)
    fill_organizations(database, settings)
    fill(database, settings)
    finish_builds(database)
    sent.clear()
    assert len(rows(database, settings)) == 3
    assert len(sent) <= before


def test_those_that_lack_most_come_first(database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    with database.write() as connection:
        for name, desired in (("large", 9), ("small", 5)):
            connection.execute(update(m.Preset).where(m.Preset.name == name).values(desired=desired))
    made = rows(database, settings)
    assert [(row.pool, row.shortfall) for row in made] == [("dev/large", 8), ("ops/small", 4), ("dev/small", 3)]
    assert [row.share for row in made] == [1 / 9, 1 / 5, 2 / 5]
    assert replace(ROW, desired=0, eligible=1).share == 1.0


@pytest.mark.parametrize(("rate", "text"), [(None, ""), (0.0, "0 %"), (0.999, "99 %"), (1.0, "100 %")])
def test_only_a_rate_without_a_miss_is_100_percent(rate: float | None, text: str) -> None:
    assert replace(ROW, hit_rate=rate).hit_percent == text


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, ["dev/small", "dev/large@v1", "ops/small"]),
        ({"search": "  SMALL "}, ["dev/small", "ops/small"]),
        ({"search": "small dev"}, ["dev/small"]),
        ({"search": "umbr"}, ["ops/small"]),
        ({"template": "dev"}, ["dev/small", "dev/large@v1"]),
        ({"template": "de"}, []),
        ({"organization": "umbrella", "reason": "starting"}, ["ops/small"]),
        ({"reason": "inactive"}, ["dev/large@v1"]),
        ({"search": "<script>alert(1)</script> \u202e \x00 .* ["}, []),
    ],
)
def test_filters(fields: dict[str, str], shown: list[str]) -> None:
    made = [
        ROW,
        replace(ROW, ref=PresetRef("dev", "large", "v1"), reason="inactive"),
        replace(ROW, ref=PresetRef("ops", "small"), organization="umbrella"),
    ]
    assert [row.pool for row in made if PoolFilter(**fields).shows(row)] == shown
    assert bool(PoolFilter(**fields)) == bool(fields)


def test_what_is_offered_has_what_is_chosen() -> None:
    made = [ROW, replace(ROW, ref=PresetRef("ops", "small"), organization="umbrella")]
    offered = choices(made, PoolFilter(template="gone", organization="acme", reason="strange"))
    assert (offered.templates, offered.organizations) == (("dev", "ops", "gone"), ("acme", "umbrella"))
    assert offered.reasons == (*(reason.value for reason in Reason), "strange"), "an open page may come to each"


def test_the_reason_is_there_for_who_is_short_or_paused() -> None:
    full = replace(ROW, sentence="", next_action="paused by bob", state="paused")
    assert full.why == "paused by bob"
    assert replace(full, state="full").why == ""
