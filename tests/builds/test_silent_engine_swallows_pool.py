"""A builds worker whose own engine is away used to take every start of the shared queue, and to keep it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from prebuild_tasks.builds import silence
from prebuild_tasks.builds.silence import SilentProvisioners
from prebuild_tasks.builds.types import Endpoint, Outcome
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import CannotAskError, ClaimMissError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import NEVER_READY_CODE, BuildStatus, PresetStatus, Transition
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, build_all, declare_simulated, jump, turn, workspaces
from tests.support.hosts import report_presence
from tests.support.machines import Machine


@pytest.fixture
def machines(database: Database, settings: Settings) -> Iterator[tuple[Machine, Machine]]:
    """The first one's engine is away."""
    both = Machine(database, settings, "broken"), Machine(database, settings, "whole")
    both[0].engine.away = True
    yield both
    for machine in both:
        machine.runner.close()


def hold_once(database: Database, machine: Machine) -> None:
    assert build_all(database, machine.runner) > 0
    jump(database, 61)


def statuses(database: Database) -> list[tuple[str, BuildStatus, int]]:
    with database.read() as connection:
        rows = connection.execute(select(m.Build.queue, m.Build.status, m.Build.holds).order_by(m.Build.queue))
        return [(row.queue, row.status, row.holds) for row in rows]


def test_what_another_machine_can_build_is_left_to_it(
    database: Database, settings: Settings, machines: tuple[Machine, Machine]
) -> None:
    broken, whole = machines
    declare_simulated(database, settings, 4)
    turn(database, settings)
    build_all(database, broken.runner)
    free = ("", BuildStatus.PENDING, 0)
    assert statuses(database) == [free, free, free, ("broken", BuildStatus.PENDING, 1)]
    build_all(database, whole.runner)
    assert len(workspaces(database, m.Workspace.host == "whole", m.Workspace.status == BuildStatus.SUCCEEDED)) == 3
    broken.engine.away = False
    jump(database, 61)
    build_all(database, broken.runner)
    turn(database, settings)
    assert len(workspaces(database, m.Workspace.status == BuildStatus.SUCCEEDED)) == 4


def test_what_it_has_taken_is_built_elsewhere(
    database: Database, settings: Settings, machines: tuple[Machine, Machine]
) -> None:
    broken, whole = machines
    report_presence(database, settings, "broken", "whole")
    declare_simulated(database, settings, 1)
    turn(database, settings)
    for _ in range(2):
        hold_once(database, broken)
        report_presence(database, settings, "broken", "whole")
        assert turn(database, settings).created == 0
    build_all(database, broken.runner)
    [row] = workspaces(database)
    assert (row.transition, row.status, row.host) == (Transition.DELETE, BuildStatus.PENDING, "broken")
    assert turn(database, settings).created == 1
    build_all(database, broken.runner)
    build_all(database, whole.runner)
    [ready] = workspaces(database, m.Workspace.status == BuildStatus.SUCCEEDED)
    assert ready.host == "whole"
    with database.read() as connection:
        preset = connection.execute(select(m.Preset)).one()
    assert (preset.failures_in_row, preset.status) == (0, PresetStatus.HEALTHY), "it counts as no failure"
    broken.engine.away = False
    jump(database, 61)
    build_all(database, broken.runner)
    assert [row.host for row in workspaces(database)] == ["whole"]
    assert audit(database, settings) == []


def test_a_person_who_waits_for_it_is_told(
    database: Database, settings: Settings, machines: tuple[Machine, Machine]
) -> None:
    broken, _ = machines
    report_presence(database, settings, "whole")
    declare_simulated(database, settings, 0)
    request = ClaimRequest("ada", [PRESET], wait=True)
    assert isinstance(claim(database, request), BeingBuilt)
    for _ in range(2):
        hold_once(database, broken)
        assert isinstance(claim(database, request), BeingBuilt)
    report_presence(database, settings, "whole")
    build_all(database, broken.runner)
    with pytest.raises(ClaimMissError, match="could not be built for ada: no engine"):
        claim(database, request)


@pytest.mark.parametrize("others", ["none", "silent too"])
def test_without_a_machine_that_can_build_it_stays_on_hold(
    database: Database, settings: Settings, machines: tuple[Machine, Machine], others: str
) -> None:
    broken, whole = machines
    declare_simulated(database, settings, 2)
    turn(database, settings)
    if others != "none":
        whole.engine.away = True
        build_all(database, whole.runner)
        jump(database, 61)
    for _ in range(5):
        report_presence(database, settings, "broken", *(["whole"] if others != "none" else []))
        with database.read() as connection:
            query = select(m.Build.id).where(m.Build.queue.in_(("", "broken")))
            mine = connection.execute(query.order_by(m.Build.queue.desc(), m.Build.id)).scalars().all()
        broken.runner.run(mine[0])
        jump(database, 30)
        hold_again = [row for row in statuses(database) if row[0] == "whole"]
        assert len(hold_again) == (others != "none")
        jump(database, 31)
    assert ("broken", BuildStatus.PENDING, 5) in statuses(database)


def test_one_start_finds_out_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(silence, "monotonic", lambda: now)
    silent, docker = SilentProvisioners(), Endpoint("docker")
    unreachable = Outcome(BuildStatus.FAILED, "no engine", CannotAskError.code)
    silent.note(docker, unreachable)
    assert silent.avoided(ask=True) == {docker}
    now += 121
    assert [silent.avoided(), silent.avoided(ask=True), silent.avoided(ask=True)] == [set(), set(), {docker}]
    for outcome in (Outcome(BuildStatus.CANCELED, code="canceled"), Outcome(BuildStatus.FAILED, code=NEVER_READY_CODE)):
        silent.note(docker, outcome)
        assert silent.avoided() == {docker}, "that tells nothing"
    silent.note(docker, Outcome(BuildStatus.FAILED, "no such image", "provisioner_failed"))
    assert silent.avoided() == set(), "it has answered"
