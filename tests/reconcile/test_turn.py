"""A preset's turn on a real database: what it writes, and what it must not and cannot write."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event, func, select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus, Transition
from prebuild_tasks.pools.operations import unblock
from prebuild_tasks.reconcile import turn as service
from prebuild_tasks.reconcile.store import preset_view, snapshots
from prebuild_tasks.reconcile.turn import plan_tick
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.outbox import send
from tests.support.builders import (
    PRESET,
    RecordingPublisher,
    age,
    declare,
    fill,
    finish_builds,
    live,
    preset_id,
    turn,
    workspaces,
)


def _preset(database: Database, **values: object) -> None:
    with database.write() as connection:
        connection.execute(update(m.Preset).values(**values))


def test_it_creates_exactly_the_deficit(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    result = turn(database, settings)
    assert (result.outcome, result.created, result.desired) == ("changed", 3, 3)
    assert sorted(w.slot for w in workspaces(database)) == [0, 1, 2]
    assert turn(database, settings).outcome == "steady"
    assert live(database) == 3


def test_a_steady_pool_writes_nothing_and_costs_two_statements(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    seen: list[str] = []
    identity = preset_id(database)
    event.listen(database.engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    result = service.reconcile_preset(database, settings, identity)
    assert result.outcome == "steady"
    assert len([s for s in seen if not s.startswith("BEGIN")]) == 2
    assert all(s.lstrip().startswith(("SELECT", "BEGIN")) for s in seen)


def test_statements_do_not_grow_with_the_number_created(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    turn(database, settings)  # it tells that the pool is short
    counts = []
    for desired in (5, 60):
        declare(database, settings, desired)
        seen: list[str] = []

        def note(*args: object, into: list[str] = seen) -> None:
            into.append(str(args[2]))

        event.listen(database.engine, "before_cursor_execute", note)
        turn(database, settings)
        event.remove(database.engine, "before_cursor_execute", note)
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_the_workspace_keeps_its_recipes_digest(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    with database.read() as connection:
        digest = connection.execute(select(m.Preset.recipe_digest)).scalar_one()
    assert [w.recipe_digest for w in workspaces(database)] == [digest]
    assert len(digest) == 64


def test_shrinking_deletes_the_oldest_and_moves_the_survivors_slots_down(
    database: Database, settings: Settings
) -> None:
    declare(database, settings, 5)
    fill(database, settings)
    oldest = [w.id for w in workspaces(database) if w.slot in (0, 1, 2)]
    age(database, 100, oldest)
    declare(database, settings, 2, yes=True)
    result = turn(database, settings)
    assert result.deleted == 3
    kept = workspaces(database, m.Workspace.transition == Transition.START)
    assert {w.id for w in kept}.isdisjoint(oldest)
    assert {w.slot for w in kept} == {0, 1}, "survivors above the ceiling would leave room for a surplus"
    finish_builds(database)
    assert turn(database, settings).outcome == "steady"


def test_surplus_pending_starts_are_cancelled_and_leave_nothing(database: Database, settings: Settings) -> None:
    declare(database, settings, 4)
    turn(database, settings)
    declare(database, settings, 1)
    result = turn(database, settings)
    assert (result.canceled, live(database)) == (3, 1)
    assert [w.slot for w in workspaces(database)] == [0]


def test_a_pending_build_that_had_a_runner_is_deleted_not_just_cancelled(
    database: Database, settings: Settings
) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    with database.write() as connection:
        connection.execute(update(m.Build).values(attempt=1))
    declare(database, settings, 0)
    result = turn(database, settings)
    assert result.canceled == 1
    assert [(w.transition, w.status) for w in workspaces(database)] == [(Transition.DELETE, BuildStatus.PENDING)]


def test_expired_prebuilds_are_replaced(database: Database, settings: Settings) -> None:
    declare(database, settings, 2, extra="ttl: 1h")
    fill(database, settings)
    age(database, 3601)
    result = turn(database, settings)
    assert (result.deleted, result.created) == (2, 2)


def test_an_inactive_preset_loses_everything(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    old = preset_id(database)
    declare(database, settings, 2, start="true # changed", yes=True)
    result = service.reconcile_preset(database, settings, old)
    assert (result.desired, result.deleted, result.created) == (0, 2, 0)
    assert turn(database, settings).created == 2


def test_failures_back_off_then_hit_the_hard_limit(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    turn(database, settings)
    assert finish_builds(database, status=BuildStatus.FAILED, limit=1, error="no disk") == 1
    assert turn(database, settings).reason == "backoff"
    assert finish_builds(database, status=BuildStatus.FAILED, error="no disk") == 1
    assert turn(database, settings).reason == "backoff"
    _preset(database, recent_failures=[])
    result = turn(database, settings)
    assert (result.created, result.reason) == (1, "slow_start"), "one at a time until one succeeds"
    finish_builds(database, status=BuildStatus.FAILED, error="no disk")
    result = turn(database, settings)
    assert (result.created, live(database)) == (0, 0)
    with database.read() as connection:
        row = connection.execute(select(m.Preset)).one()
    assert (row.status, row.failures_in_row, row.last_error) == (PresetStatus.HARD_LIMITED, 3, "no disk")
    _preset(database, recent_failures=[])
    assert turn(database, settings).reason == "hard_limited"
    assert unblock(database, PRESET, actor="ada").changed
    assert not unblock(database, PRESET, actor="ada").changed
    assert turn(database, settings).created == 2


def test_a_success_ends_the_row_of_failures(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, limit=2)
    finish_builds(database)
    assert turn(database, settings).created == 2


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("claims", "outcome", "deleted"), [(0, "changed", 2), (1, "changed", 1), (2, "steady", 0)])
def test_the_outcome_of_a_turn_is_what_claims_left_to_do(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, claims: int, outcome: str, deleted: int
) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    declare(database, settings, 0, yes=True)

    def step(name: str) -> None:
        for number in range(claims if name == "reconcile.after_reread" else 0):
            claim(database, ClaimRequest(f"owner{number}", [PRESET]))

    monkeypatch.setattr(service, "step", step)
    result = turn(database, settings)
    assert (result.outcome, result.deleted, len(result.follow_up.builds)) == (outcome, deleted, deleted)


def test_backoff_never_holds_back_a_deletion(database: Database, settings: Settings) -> None:
    declare(database, settings, 3, extra="ttl: 1h")
    turn(database, settings)
    finish_builds(database, limit=2)
    finish_builds(database, status=BuildStatus.FAILED)
    age(database, 3601, [w.id for w in workspaces(database, m.Workspace.ready_at.is_not(None))])
    result = turn(database, settings)
    assert (result.deleted, result.created, result.reason) == (2, 0, "backoff")


# Fixtures, and the columns of a case.
@pytest.mark.parametrize(
    ("organizations", "extra", "setting", "created", "reason"),
    [
        ("[]", "max_builds_in_flight: 2", 0, 2, "preset_builds_in_flight"),
        ("[{name: default, max_builds_in_flight: 3}]", "", 0, 3, "organization_builds_in_flight"),
        ("[{name: default, max_workspaces: 4}]", "", 0, 4, "organization_quota"),
        ("[]", "", 1, 1, "global_builds_in_flight"),
        ("[{name: default, max_workspaces: 9}]", "max_builds_in_flight: 9", 9, 5, ""),
    ],
)
def test_limits_cap_creation(
    database: Database, settings: Settings, organizations: str, extra: str, setting: int, created: int, reason: str
) -> None:
    settings = settings.model_copy(update={"max_builds_in_flight": setting})
    declare(database, settings, 5, organizations=organizations, extra=extra)
    result = turn(database, settings)
    assert (result.created, result.reason or "") == (created, reason)
    assert turn(database, settings).created == 0


def test_a_paused_pool_is_left_alone(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    _preset(database, paused={"by": "ada"})
    assert turn(database, settings).outcome == "paused"
    assert workspaces(database) == []
    assert plan_tick(database, settings)[1] == []


def test_a_preset_that_is_gone_is_not_an_error(database: Database, settings: Settings) -> None:
    assert service.reconcile_preset(database, settings, 4711).outcome == "gone"


def test_publishing_is_remembered(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    publisher = RecordingPublisher()
    result = turn(database, settings)
    assert send(database, publisher, result.follow_up) == 2
    with database.read() as connection:
        rows = connection.execute(select(m.Build.published_at, m.Build.publications)).all()
    assert all(row.published_at and row.publications == 1 for row in rows)


def test_the_tick_orders_the_emptiest_pools_first_and_skips_nobody(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    _, ids = plan_tick(database, settings)
    assert ids == [str(preset_id(database))]
    fill(database, settings)
    drifted = settings.model_copy(update={"fanout": "drifted"})
    assert plan_tick(database, settings)[1] == ids
    assert plan_tick(database, drifted)[1] == []


def test_counts_of_the_tick_agree_with_rows_of_the_turn(database: Database, settings: Settings) -> None:
    from prebuild_tasks.reconcile.rules.state import count

    declare(database, settings, 4, extra="ttl: 1h")
    turn(database, settings)
    finish_builds(database, limit=3)
    for position, row in enumerate(workspaces(database)):
        age(database, 3599.5 + position, [row.id])
    _preset(database, last_invalidated_at=workspaces(database)[0].created_at + timedelta(microseconds=1))
    with database.snapshot() as connection:
        tick = snapshots.read_global(database, connection, 3600)
        view = preset_view.read_preset(database, connection, preset_id(database), 3600)
    assert view is not None
    assert tick.presets[0].counts == count(view.snapshot, tick.now)


def test_every_writing_decision_counts_in_the_generation(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    for _ in range(3):
        turn(database, settings)
    with database.read() as connection:
        assert connection.execute(select(m.Preset.generation)).scalar_one() == 1
        assert connection.execute(select(func.count()).select_from(m.Build)).scalar_one() == 1
