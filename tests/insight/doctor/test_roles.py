"""The health of one role."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from prebuild_tasks.fleet.rules import Process
from prebuild_tasks.insight.doctor.roles import check_role
from tests.insight.doctor.processes import BEAT, BUILDER, BUILDS, CONTROL, WORKER, life, process


@pytest.mark.parametrize(
    ("processes", "role", "where", "healthy", "words"),
    [
        ([WORKER], "worker", {}, True, "control worker is running, last seen 2 s ago (process 7)"),
        ([WORKER], "worker", {"host": "a", "machine": "a-machine"}, True, "control worker on a is running"),
        ([WORKER], "worker", {"host": "a", "machine": "another"}, False, "no control worker is running on a; none has"),
        ([WORKER], "worker", {"host": "b"}, False, "no control worker is running on b; none has been seen"),
        ([BUILDER], "worker", {}, False, "no control worker is running; none has been seen"),
        ([process("builds", BUILDS, *CONTROL)], "worker", {}, True, "is running"),
        ([process("worker", *CONTROL, age=90)], "worker", {"host": "a"}, False, "the last was seen 90 s ago on a"),
        ([BUILDER], "builds", {"host": "a"}, True, "builds worker on a is running"),
        (
            [process("builds")],
            "builds",
            {"host": "a"},
            False,
            "on a with a connection to Redis, which refuses process 7",
        ),
        ([process("builds")], "builds", {}, False, "no builds worker is running"),
        ([BEAT], "beat", {}, True, "beat is running"),
        ([WORKER], "beat", {}, False, "no beat is running"),
    ],
)
def test_a_role(processes: Sequence[Process], role: str, where: dict[str, str], healthy: bool, words: str) -> None:
    queue = {"worker": "p.reconcile", "builds": BUILDS, "beat": ""}[role]
    answer = check_role(life(*processes), role, queue, **where)
    assert answer[0] is healthy
    assert words in answer[1]


def test_a_beat_whose_ticks_do_not_come_is_stuck_unless_there_is_no_worker() -> None:
    assert check_role(life(WORKER, BEAT, tick_age=300, stale=True), "beat", "") == (
        False,
        "beat is running, but no tick has ended for 5 min",
    )
    assert check_role(life(BEAT, tick_age=300, stale=True), "beat", "")[0]
