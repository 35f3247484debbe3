"""Claims that wait: a workspace is built for the owner, ahead of the pool."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, update

from prebuild_tasks.builds import store
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, Claimed, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BeingBuiltError, CannotAskError, ClaimMissError, RefusedError, RequestEndedError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import BuildPriority, BuildStatus, ClaimState, PresetStatus, Transition
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.remedy_commands import next_step_of
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.sweep import take_back_lost
from prebuild_tasks.workspaces.follow_ups import FollowUp
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill, finish_builds, preset_id, turn, workspaces


def wanted(owner: str = "ada", **options: object) -> ClaimRequest:
    return ClaimRequest(owner, [PRESET], wait=True, **options)  # type: ignore[arg-type]


def begin(database: Database, request: ClaimRequest) -> BeingBuilt:
    begun = claim(database, request)
    assert isinstance(begun, BeingBuilt)
    return begun


def mine(database: Database, owner: str = "ada") -> list[object]:
    return workspaces(database, m.Workspace.owner == owner)


def events(database: Database) -> list[tuple[bool, str]]:
    with database.read() as connection:
        query = select(m.ClaimEvent.hit, m.ClaimEvent.miss_reason).order_by(m.ClaimEvent.id)
        return [(row.hit, row.miss_reason) for row in connection.execute(query)]


def test_where_nothing_is_under_way_one_is_begun(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    request = wanted()
    begun = begin(database, request)
    assert len(begun.follow_up.builds) == 1
    turn_of_the_pool = {preset_id(database): PRESET}
    assert begun.follow_up.wake == turn_of_the_pool
    with database.read() as connection:
        build = connection.execute(select(m.Build)).one()
    assert (build.priority, build.initiator) == (BuildPriority.PERSON_WAITS, "ada")
    again = begin(database, request)
    assert again.reserved.name == begun.reserved.name
    assert again.follow_up.wake == turn_of_the_pool, "the first message may be lost"
    assert len(mine(database)) == 1, "asking again begins nothing"
    finish_builds(database)
    answer = claim(database, request).answer
    assert (answer.workspace, answer.owner, answer.state) == (begun.reserved.name, "ada", ClaimState.USABLE)
    assert events(database) == [(False, "not_desired")], "it missed once, however often it asked"
    repeated = claim(database, request)
    assert isinstance(repeated, Claimed)
    assert (repeated.answer, repeated.follow_up.wake) == (answer, turn_of_the_pool)
    assert audit(database, settings) == []


def test_the_pools_start_that_is_furthest_on_is_theirs(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    turn(database, settings)
    with database.write() as connection:
        running = connection.execute(select(m.Build.id).order_by(m.Build.id.desc()).limit(1)).scalar_one()
        assert store.take(connection, running, "runner", "", database.now(connection))
    begun = begin(database, wanted())
    assert begun.follow_up == FollowUp(wake={preset_id(database): PRESET}), "the pool has one fewer"
    with database.read() as connection:
        build = connection.execute(select(m.Build).where(m.Build.id == running)).one()
    assert (build.priority, build.status) == (BuildPriority.PERSON_WAITS, BuildStatus.RUNNING)
    assert turn(database, settings).created == 1, "the pool builds another"
    assert audit(database, settings) == []


def test_a_start_on_hold_is_given_last(database: Database, settings: Settings) -> None:
    """It keeps the time of its last attempt, by which it used to come before every start that waits for a worker."""
    declare(database, settings, 2)
    turn(database, settings)
    with database.write() as connection:
        held, fresh = connection.execute(select(m.Build.id).order_by(m.Build.created_at, m.Build.id)).scalars()
        values = {"attempt": 1, "holds": 1, "started_at": m.Build.created_at, "error_code": CannotAskError.code}
        connection.execute(update(m.Build).where(m.Build.id == held).values(values))
    begin(database, wanted("ada"))
    begin(database, wanted("bob"))
    with database.read() as connection:
        given = connection.execute(select(m.Build.id, m.Build.initiator)).all()
    assert {row.id: row.initiator for row in given} == {fresh: "ada", held: "bob"}


def test_a_prebuild_that_is_ready_is_taken_before_anything_is_begun(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    assert claim(database, wanted()).answer.workspace


def test_its_hook_runs_and_its_time_begins_when_it_is_ready(database: Database, settings: Settings) -> None:
    declare(database, settings, 0, config="claim: 'true'", extra="claimed_ttl: 1h")
    request = wanted()
    begin(database, request)
    finish_builds(database, limit=1)
    answer = claim(database, request).answer
    assert answer.state == ClaimState.PERSONALISING
    row = mine(database)[0]
    assert (row.claimed_until - row.claimed_at).total_seconds() == 3600  # type: ignore[attr-defined]
    finish_builds(database)
    assert claim(database, request).answer.state == ClaimState.USABLE
    assert audit(database, settings) == []


def test_a_name_of_ones_own_and_one_that_is_taken(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    assert begin(database, wanted(name="mine")).reserved.name == "mine"
    with pytest.raises(RefusedError, match="already has a workspace named mine"):
        claim(database, wanted(name="mine"))
    assert len(mine(database)) == 1


def test_it_can_be_given_up_while_it_is_built(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    request = wanted()
    begun = begin(database, request)
    end_workspace(database, f"ada/{begun.reserved.name}", actor="ada")
    finish_builds(database)
    assert mine(database) == []
    with pytest.raises(RequestEndedError) as ended:
        claim(database, request)
    assert (ended.value.reason, ended.value.ended_by) == ("released", "ada")


@pytest.mark.parametrize("status", [PresetStatus.HARD_LIMITED, PresetStatus.VALIDATION_FAILED])
def test_a_blocked_preset_is_not_built_for_anybody(
    database: Database, settings: Settings, status: PresetStatus
) -> None:
    declare(database, settings, 0)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=status, status_reason="no such image"))
    with pytest.raises(RefusedError, match="no such image") as refused:
        claim(database, wanted())
    assert "prebuild unblock dev/small" in next_step_of(refused.value)


def test_limits_hold_for_people_too(database: Database, settings: Settings) -> None:
    declare(database, settings, 0, organizations="[{name: default, max_workspaces: 2, max_builds_in_flight: 1}]")
    begin(database, wanted("ada"))
    with pytest.raises(ClaimMissError) as miss:
        claim(database, wanted("bob"))
    assert not isinstance(miss.value, BeingBuiltError), "too many builds in flight: bob goes on waiting"
    finish_builds(database)
    begin(database, wanted("bob"))
    finish_builds(database)
    with pytest.raises(RefusedError, match="organization default has 2 workspaces, the limit is 2"):
        claim(database, wanted("eve"))


def test_the_global_limit_holds_too(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    begin(database, wanted("ada"))
    with pytest.raises(ClaimMissError) as miss:
        claim(database, wanted("bob"), max_builds_in_flight=1)
    assert not isinstance(miss.value, BeingBuiltError)


def test_slow_start_does_not_hold_for_people(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(slow_start=1))
    begin(database, wanted("ada"))
    begin(database, wanted("bob"))
    assert len(mine(database)) == len(mine(database, "bob")) == 1


def test_while_paused_nothing_is_begun_but_a_start_under_way_can_be_had(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    pause(database, PRESET, actor="ada")
    begin(database, wanted("ada"))
    with pytest.raises(ClaimMissError) as miss:
        claim(database, wanted("bob"))
    assert not isinstance(miss.value, BeingBuiltError)


@pytest.mark.parametrize(
    "first",
    [{"status": PresetStatus.HARD_LIMITED}, {"paused": {"by": "op", "until": None}}, {"max_builds_in_flight": 0}],
    ids=["blocked", "paused", "at its limit"],
)
def test_the_second_preset_is_built_where_the_first_can_not_be(
    database: Database, settings: Settings, first: dict[str, object]
) -> None:
    declare(database, settings, 0)
    with database.write() as connection:
        row = connection.execute(select(m.Preset)).one()._asdict()
        del row["id"]
        connection.execute(m.Preset.__table__.insert().values(**row | {"name": "large"}))
        connection.execute(update(m.Preset).where(m.Preset.name == "small").values(first))
    begun = begin(database, ClaimRequest("ada", [PRESET, "dev/large"], wait=True))
    assert begun.reserved.preset_id == preset_id(database, "dev/large")


def test_the_same_request_twice_at_once_begins_one(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    request, found = wanted(), list[str]()

    def ask() -> None:
        found.append(begin(database, request).reserved.name)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 6
    assert len(set(found)) == 1
    assert len(mine(database)) == 1


def test_many_who_wait_get_one_each_and_cancelling_takes_none_of_theirs(database: Database, settings: Settings) -> None:
    """The pool shrinks while its starts are given to waiting claims, which keep them."""
    declare(database, settings, 6)
    turn(database, settings)
    declare(database, settings, 0, yes=True)
    requests = [wanted(f"owner{number}") for number in range(6)]
    start = threading.Barrier(7)

    def ask(request: ClaimRequest) -> None:
        start.wait(60)
        begin(database, request)

    def shrink() -> None:
        start.wait(60)
        turn(database, settings)

    threads = [threading.Thread(target=ask, args=(request,)) for request in requests]
    threads.append(threading.Thread(target=shrink))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    turn(database, settings)
    finish_builds(database)
    names = {claim(database, request).answer.workspace for request in requests}
    assert len(names) == 6
    assert len(workspaces(database)) == 6
    assert audit(database, settings) == []


def test_a_lost_build_for_a_person_is_taken_up_again(database: Database, settings: Settings) -> None:

    declare(database, settings, 0)
    request = wanted()
    begun = begin(database, request)
    for attempt in range(settings.build_attempts):
        with database.write() as connection:
            assert store.take(connection, begun.follow_up.builds[0].id, "runner", "", database.now(connection)), attempt
        take_back_lost(database, settings, "runner")
    assert [(w.transition, w.reason) for w in mine(database)] == [(Transition.DELETE, "not_built")]  # type: ignore[attr-defined]
    with database.read() as connection:
        failures = connection.execute(select(m.Preset.failures_in_row)).scalar_one()
    assert failures == 1, "it counts for the pool like a start that the provisioner failed"
    with pytest.raises(ClaimMissError, match="it lost its worker 3 times"):
        claim(database, request)
