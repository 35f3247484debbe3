"""Views: what holds a pool back, when a claim ends, what happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError
from prebuild_tasks.insight.history import read_history
from prebuild_tasks.insight.status.listings import workspaces as listed
from prebuild_tasks.insight.status.pools import pools
from prebuild_tasks.insight.status.rules import ends_soon
from prebuild_tasks.insight.status.views import PoolStatus
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus, Transition
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import invalidate, pause
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.rules.backoff import retry_at
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.workspaces.extension import extend
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import (
    PRESET,
    build_all,
    declare,
    fill,
    fill_really,
    finish_builds,
    jump,
    preset_id,
    staffed,
    turn,
    workspaces,
)
from tests.support.pool_files import load_text

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def only(database: Database, settings: Settings) -> PoolStatus:
    [row] = pools(database, settings)
    return row


def test_the_reasons_of_a_shortage(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    assert (only(database, settings).reason, only(database, settings).next_action) == (
        "no_worker",
        "create 2, but no worker is running",
    )
    staffed(database, settings, "worker", "beat")
    assert (only(database, settings).reason, only(database, settings).next_action) == (
        "no_builds_worker",
        "create 2, but no builds worker is running",
    )
    staffed(database, settings)
    assert (only(database, settings).reason, only(database, settings).next_action) == ("not_yet", "create 2")
    turn(database, settings)
    assert (only(database, settings).reason, only(database, settings).next_action) == ("starting", "wait for 2")
    finish_builds(database, status=BuildStatus.FAILED, error="no disk")
    row = only(database, settings)
    assert (row.reason, row.failed, row.last_error) == ("backoff", 2, "no disk")
    assert row.next_action.startswith("back off until")
    jump(database, 3700)
    staffed(database, settings, "worker", "builds")
    assert only(database, settings).next_action == "create 1 of 2, but no ticks arrive"
    staffed(database, settings)
    assert (only(database, settings).reason, only(database, settings).next_action) == (
        "failing",
        "create 1 of 2, after 2 failures",
    )
    turn(database, settings)
    row = only(database, settings)
    assert (row.reason, row.next_action) == ("slow_start", "wait: 1 build in flight after a failure, 1 to go")
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=PresetStatus.HARD_LIMITED))
    assert (only(database, settings).reason, only(database, settings).next_action) == ("hard_limited", "hard limited")
    pause(database, PRESET, actor="ada")
    assert (only(database, settings).reason, only(database, settings).next_action) == ("paused", "paused by ada")


def test_what_is_tried_again_after_it_never_became_ready(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 1)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="not ready", code="never_ready")
    assert only(database, settings).reason == "backoff"
    jump(database, 3700)
    staffed(database, settings)
    turn(database, settings)
    assert (only(database, settings).reason, only(database, settings).next_action) == (
        "never_ready",
        "wait for 1, after 1 failure",
    )
    finish_builds(database)
    assert only(database, settings).reason == "none"


def test_what_an_old_version_has_left_is_inactive(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    declare(database, settings, 1, start="false", yes=True)
    assert sorted(row.reason for row in pools(database, settings)) == ["inactive", "no_worker"]


def test_the_quota_is_named(database: Database, settings: Settings) -> None:
    """If claimed workspaces use up the quota, the status says so."""
    staffed(database, settings)
    declare(database, settings, 3, organizations="[{name: default, max_workspaces: 4}]")
    fill(database, settings)
    for number in range(3):
        claim(database, ClaimRequest(f"owner{number}", [PRESET]))
    fill(database, settings)
    row = only(database, settings)
    assert (row.eligible, row.reason) == (1, "organization_quota")
    assert row.next_action == "quota: 4 of 4 workspaces of default in use, 3 claimed"


@pytest.mark.parametrize(
    ("organization", "extra", "limit", "words"),
    [
        (", max_builds_in_flight: 1", "", 0, "wait: 1 of 1 builds of default in flight"),
        ("", "", 1, "wait: 1 of 1 builds in flight"),
        ("", "max_builds_in_flight: 1", 0, "wait: 1 build of this pool in flight, 2 to go"),
    ],
)
def test_builds_in_flight_are_named(
    database: Database, settings: Settings, organization: str, extra: str, limit: int, words: str
) -> None:
    staffed(database, settings)
    settings = settings.model_copy(update={"max_builds_in_flight": limit})
    declare(database, settings, 3, organizations=f"[{{name: default{organization}}}]", extra=extra)
    turn(database, settings)
    assert only(database, settings).next_action == words


def test_a_rolling_pool_replaces(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 2, extra="replace: {strategy: rolling}")
    fill(database, settings)
    invalidate(database, PRESET, actor="ada")
    assert only(database, settings).next_action == "replace 2, create 1 of 2"
    turn(database, settings)
    assert (only(database, settings).reason, only(database, settings).next_action) == (
        "starting",
        "replace 2, wait for 1",
    )
    assert turn(database, settings).outcome == "steady"
    finish_builds(database)
    assert only(database, settings).next_action == "replace 1, delete 1, create 1"
    fill(database, settings)
    assert (only(database, settings).reason, only(database, settings).next_action) == ("none", "")


def test_failed_deletions_are_shown_with_their_next_try(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    declare(database, settings, 0, yes=True)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="device busy")
    assert only(database, settings).failed_deletions == 1
    assert "delete 1 again" in only(database, settings).next_action
    [row] = listed(database)
    assert (row.state, row.reason) == ("delete_failed", "device busy")
    with database.read() as connection:
        now = database.now(connection)
    assert row.retry_at is not None
    wait = (row.retry_at - now).total_seconds()
    assert 20 < wait <= 30
    assert sweep(database, settings, lambda _: 0).retried == 0
    jump(database, 31)
    assert sweep(database, settings, lambda _: 0).retried == 1
    finish_builds(database)
    assert workspaces(database) == []


@pytest.mark.parametrize(("failures", "seconds"), [(1, 30), (2, 60), (5, 480), (8, 3600), (99, 3600)])
def test_a_failed_deletion_is_tried_again_later_each_time(failures: int, seconds: int) -> None:
    assert retry_at(failures, NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("whole", "left", "soon"),
    [
        (14 * 24 * HOUR, 25 * HOUR, False),
        (14 * 24 * HOUR, 24 * HOUR, True),
        (10 * HOUR, 1.1 * HOUR, False),
        (10 * HOUR, HOUR, True),
        (HOUR, -HOUR, True),
    ],
)
def test_when_an_end_is_near(whole: timedelta, left: timedelta, soon: bool) -> None:
    assert ends_soon(NOW - whole + left, NOW + left, NOW) == soon


def test_an_owner_is_warned_until_it_is_extended(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, extra="claimed_ttl: 10h")
    fill(database, settings)
    answer = claim(database, ClaimRequest("ada", [PRESET])).answer
    assert answer.claimed_until is not None
    assert (answer.claimed_until - answer.claimed_at).total_seconds() == 10 * 3600
    assert answer.report()["claimed_until"] == answer.claimed_until.isoformat()
    finish_builds(database)
    assert [row.ends_soon for row in listed(database, owner="ada")] == [False]
    jump(database, 9.5 * 3600)
    assert [row.ends_soon for row in listed(database, owner="ada")] == [True]
    extend(database, answer.workspace, 8 * 3600, actor="ada")
    assert [row.ends_soon for row in listed(database, owner="ada")] == [False]


def test_history_tells_who_what_why_and_when(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    [before] = workspaces(database, m.Workspace.transition == Transition.START)
    answer = claim(database, ClaimRequest("ada", [PRESET])).answer
    finish_builds(database)
    end_workspace(database, answer.workspace, actor="bob", operator=True)
    finish_builds(database)
    rows = read_history(database, answer.workspace)
    assert [(row.event, row.actor, row.reason) for row in rows if row.event.endswith("requested")] == [
        ("start_requested", "reconciler", "deficit")
    ], "who deleted it is told by the event of that name"
    assert {str(row.preset) for row in rows} == {PRESET}
    assert [(row.event, row.actor) for row in rows if row.event in ("claimed", "operator")] == [
        ("claimed", "ada"),
        ("operator", "bob"),
    ]
    assert read_history(database, before.id) == rows
    assert read_history(database, before.name) == rows, "under its old name too"
    assert read_history(database, f"ada/{answer.workspace}") == rows
    invalidate(database, PRESET, actor="eve")
    assert read_history(database, PRESET, limit=1)[0].event == "invalidated"
    for unknown in ("nothing", "00000000-0000-4000-8000-000000000000", "dev/nothing"):
        with pytest.raises(NotFoundError):
            read_history(database, unknown)
    assert read_history(database)[-1] == read_history(database, PRESET)[-1], "nothing named: everything"


def test_history_of_a_pool_goes_over_its_versions_and_tells_who_changed_it(
    database: Database, settings: Settings, runner: BuildRunner
) -> None:
    declare(database, settings, 1)
    fill_really(database, settings, runner)
    before, old = preset_id(database), workspaces(database)[0].name
    declare(database, settings, 2, start="echo new", yes=True)
    turn(database, settings, str(before))
    build_all(database, runner)
    text = "{schema: 1, templates: [{name: dev-x, config: {start: x}, presets: [{name: small, desired: 0}]}]}"
    apply(database, settings, load_text(text), ApplyOptions(actor="eve", source="other"))
    pause(database, "", actor="bob")
    rows = read_history(database, preset=PRESET)
    assert rows == read_history(database, PRESET)
    assert [row.event for row in rows if row.workspace == old] == [
        "start_succeeded", "inactive", "delete_succeeded",
    ]  # fmt: skip
    changes = [list(row.changes) for row in rows if row.event == "applied"]
    assert [[text for text in texts if "preset" in text] for texts in changes] == [
        [f"+ preset {PRESET}: desired 1"],
        [f"+ preset {PRESET}: desired 2"],
    ]
    assert (rows[-1].event, rows[-1].actor) == ("paused", "bob"), "what held all pools held this one"
    [version] = {str(row.preset) for row in rows if row.workspace == old}
    assert version.startswith(f"{PRESET}@")
    assert {str(row.preset) for row in read_history(database, preset=version) if row.workspace} == {version}
    with pytest.raises(InputError, match="not both"):
        read_history(database, old, preset=PRESET)
