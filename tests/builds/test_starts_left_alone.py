"""Starts that a machine left alone used to fill the limits, and used up the messages of other machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select, update

from prebuild_tasks.builds import runner
from prebuild_tasks.builds.results import BuildResult
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.explain.gather import explain_preset
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.schema import tables as m
from tests.support.builders import build_all, declare_simulated, jump, staffed, turn, workspaces
from tests.support.hosts import report_presence
from tests.support.machines import Api, Engine, Machine
from tests.support.pool_files import load_text

LIMITED = """
schema: 1
organizations: [{name: default, max_builds_in_flight: 3}]
templates:
  - {name: a, provisioner: simulated, config: {}, presets: [{name: s, desired: 2}]}
  - {name: b, provisioner: simulated, config: {build_time: 0}, presets: [{name: s, desired: 2}]}
  - {name: c, provisioner: process, config: {start: "true"}, presets: [{name: s, desired: 3}]}
"""
MakeMachine = Callable[..., Machine]


@pytest.fixture
def machine(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeMachine]:
    monkeypatch.setattr(runner, "PASSED_ON_AFTER", 0)
    made: list[Machine] = []

    def make(host: str, kind: type[Engine] = Engine, *, away: bool = False) -> Machine:
        made.append(Machine(database, settings, host, kind))
        made[-1].engine.away = away
        return made[-1]

    yield make
    for one in made:
        one.runner.close()


def pending(database: Database, *conditions: object) -> list[str]:
    with database.read() as connection:
        query = select(m.Build.id).where(m.Build.status == BuildStatus.PENDING, *conditions)  # type: ignore[arg-type]
        return list(connection.execute(query.order_by(m.Build.queue.desc(), m.Build.created_at, m.Build.id)).scalars())


def on_hold(database: Database) -> int:
    return len(pending(database, m.Build.error_code == "provisioner_unreachable"))


def run(machine: Machine, build_id: str) -> tuple[str, list[str]]:
    """Return what came of a message, and the builds that get one."""
    result: BuildResult = machine.runner.run(build_id)
    return result.outcome, [build.id for build in result.follow_up.builds]


@pytest.mark.parametrize("kind", [Engine, Api])
def test_they_are_held_and_fill_no_limit(
    database: Database, settings: Settings, machine: MakeMachine, kind: type[Engine]
) -> None:
    alone = machine("alone", kind, away=True)
    staffed(database, settings.model_copy(update={"host": "alone"}))
    apply(database, settings, load_text(LIMITED), ApplyOptions(actor="test"))
    for _ in range(2):
        turn(database, settings, "a/s")
        turn(database, settings, "b/s")
        build_all(database, alone.runner)
    assert (len(pending(database)), on_hold(database)) == (4, 4)
    for name in ("a/s", "b/s"):
        assert explain_preset(database, settings, None, name).facts.reason is Reason.PROVISIONER_UNREACHABLE
    request = ClaimRequest("ada", ["c/s"], wait=True)
    assert isinstance(claim(database, request), BeingBuilt), "a person's budget is not used either"
    turn(database, settings, "c/s")
    assert len(pending(database)) == 7, "the limit of 3 is for those that can run"


@pytest.mark.parametrize("kind", [Engine, Api])
def test_with_one_machine_all_go_on_as_soon_as_there_is_an_answer(
    database: Database, settings: Settings, machine: MakeMachine, kind: type[Engine]
) -> None:
    alone = machine("alone", kind, away=True)
    report_presence(database, settings, "alone")
    declare_simulated(database, settings, 4)
    turn(database, settings)
    for _ in range(4):
        build_all(database, alone.runner)
        jump(database, 61)
        assert (len(pending(database)), on_hold(database)) == (4, 4)
    alone.engine.away = False
    [tried] = pending(database, m.Build.holds > 0)
    outcome, told = run(alone, tried)
    assert (outcome, on_hold(database), sorted(told)) == ("succeeded", 0, sorted(pending(database)))
    assert build_all(database, alone.runner) == 3
    assert len(workspaces(database, m.Workspace.status == BuildStatus.SUCCEEDED)) == 4
    with database.read() as connection:
        assert connection.execute(select(m.Preset.failures_in_row)).scalar_one() == 0
    assert audit(database, settings) == []


def test_a_machine_without_a_way_leaves_starts_to_one_that_has_it_at_once(
    database: Database, settings: Settings, machine: MakeMachine
) -> None:
    lost, whole = machine("lost", Api, away=True), machine("whole", Api)
    report_presence(database, settings, "lost", "whole")
    declare_simulated(database, settings, 3)
    turn(database, settings)
    first = pending(database)[0]
    assert run(lost, first) == ("held", [first]), "its message is sent again"
    for build_id in pending(database):
        assert run(lost, build_id) == ("idle", [build_id])
    assert on_hold(database) == 0, "they wait for the other machine only"
    assert pending(database, m.Build.next_attempt_at.is_(None), m.Build.publications == 0) == pending(database)
    build_all(database, whole.runner)
    assert pending(database) == []


def test_a_message_is_not_used_up_where_the_engine_is_away(
    database: Database, settings: Settings, machine: MakeMachine
) -> None:
    broken, whole = machine("broken", away=True), machine("whole")
    report_presence(database, settings, "broken", "whole")
    declare_simulated(database, settings, 3)
    turn(database, settings)
    assert run(broken, pending(database)[0])[0] == "held"
    [bound] = pending(database, m.Build.queue == "broken")
    left = pending(database, m.Build.queue == "")
    with database.write() as connection:
        connection.execute(update(m.Build).values(publications=7))
    stale = bound.replace(bound[:8], "00000000")
    assert run(broken, left[1]) == ("idle", [left[1]])
    assert run(broken, stale) == ("idle", [left[0]]), "whatever build the message was for"
    assert pending(database, m.Build.publications == 0) == left, "the sweep's wait begins anew"
    assert [run(whole, build_id)[0] for build_id in left] == ["succeeded"] * 2


def test_another_machine_turns_up(database: Database, settings: Settings, machine: MakeMachine) -> None:
    broken, whole = machine("broken", away=True), machine("whole")
    report_presence(database, settings, "broken")
    declare_simulated(database, settings, 2)
    turn(database, settings)
    build_all(database, broken.runner)
    [left] = pending(database, m.Build.queue == "")
    assert (on_hold(database), run(broken, left)) == (2, ("idle", []))
    report_presence(database, settings, "whole")
    assert (run(broken, left), on_hold(database)) == (("idle", [left]), 1)
    assert run(whole, left)[0] == "succeeded"


def test_what_other_templates_ask_for_is_not_left_alone(
    database: Database, settings: Settings, machine: MakeMachine
) -> None:
    """Each template of `command` may have an API of its own."""
    alone = machine("alone", Api, away=True)
    apply(database, settings, load_text(LIMITED), ApplyOptions(actor="test"))
    turn(database, settings, "a/s")
    build_all(database, alone.runner)
    left = pending(database)
    alone.engine.away = False
    assert turn(database, settings, "b/s").created
    build_all(database, alone.runner)
    assert pending(database) == pending(database, m.Build.id.in_(left))
    assert on_hold(database) == len(left) > 0


def test_a_throttled_start_waits_its_time_while_others_get_answers(
    database: Database, settings: Settings, machine: MakeMachine
) -> None:
    """Each answer used to wake it, and it kept other starts waiting."""
    one = machine("one")
    report_presence(database, settings, "one")
    declare_simulated(database, settings, 3)
    turn(database, settings)
    throttled, *others = pending(database)
    one.engine.throttled = True
    assert run(one, throttled) == ("held", [])
    one.engine.throttled = False
    assert [run(one, build_id) for build_id in others] == [("succeeded", [])] * 2
    assert pending(database, m.Build.next_attempt_at.is_not(None)) == [throttled]
    assert (on_hold(database), run(one, throttled)) == (1, ("idle", []))
    jump(database, 6)
    assert run(one, throttled)[0] == "succeeded"


def test_of_two_processes_the_first_that_gets_an_answer_lets_them_go_on(
    database: Database, settings: Settings, machine: MakeMachine
) -> None:
    first, second = machine("one", away=True), machine("one", away=True)
    report_presence(database, settings, "one")
    declare_simulated(database, settings, 5)
    turn(database, settings)
    for process, build_id in zip((first, second, second), pending(database), strict=False):
        run(process, build_id)
    assert on_hold(database) == 5
    first.engine.away = second.engine.away = False
    tried, also_tried, *untried = pending(database)
    jump(database, 61)
    outcome, told = run(first, tried)
    assert (outcome, on_hold(database), sorted(told)) == ("succeeded", 0, sorted([also_tried, *untried]))
    assert run(second, untried[0]) == ("idle", [])
    assert on_hold(database) == 3, "the other one does not know of the answer yet"
    outcome, told = run(first, also_tried)
    assert (outcome, on_hold(database), sorted(told)) == ("succeeded", 0, sorted(untried))
    assert [run(first, build_id) for build_id in untried] == [("succeeded", [])] * 3


@pytest.mark.parametrize("kind", [Engine, Api])
def test_an_answer_on_another_machine_lets_the_shared_ones_go_on(
    database: Database, settings: Settings, machine: MakeMachine, kind: type[Engine]
) -> None:
    lost, whole = machine("lost", kind, away=True), machine("whole", kind)
    report_presence(database, settings, "lost")
    declare_simulated(database, settings, 4)
    turn(database, settings)
    throttled, tried, *untried = pending(database)
    whole.engine.throttled = True
    assert run(whole, throttled) == ("held", [])
    whole.engine.throttled = False
    assert [run(lost, build_id)[0] for build_id in (tried, untried[0])] == ["held", "idle"]
    assert on_hold(database) == 4
    outcome, told = run(whole, untried[0])
    shared = [untried[1]] if kind is Engine else [throttled, tried, untried[1]]
    assert (outcome, sorted(told)) == ("succeeded", sorted(shared))
    assert run(whole, untried[1]) == ("succeeded", []), "an engine's own starts wait for an answer of that engine"
