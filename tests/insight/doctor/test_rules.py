"""Each problem gives one finding, and none for its consequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from prebuild_tasks.cli.remedy_commands import StartCommands, next_step
from prebuild_tasks.fleet.rules import Liveness, Process
from prebuild_tasks.insight.doctor.facts import (
    DiskFact,
    Examination,
    ProvisionerFact,
    RedisFact,
    SchemaFact,
    Trouble,
)
from prebuild_tasks.insight.doctor.roles import check_role
from prebuild_tasks.insight.doctor.rules import Symptom, diagnose
from prebuild_tasks.model.names import PoolName

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CONTROL = ("p.events", "p.reconcile", "p.claims", "p.default")
BUILDS = "p.builds"
START = StartCommands("celery worker", "celery builds", "celery beat")
REDIS = RedisFact("7.0.15", "noeviction", used=10, limit=0)
DISK = DiskFact("/data", writable=True, free_bytes=50 << 30, free_files=10**6)


def process(role: str, *queues: str, host: str = "a", pid: int = 7, age: float = 2, old: float = 900) -> Process:
    return Process(
        name=f"{host}/{pid}/{host}-machine/ffff",
        role=role,
        host=host,
        queues=queues,
        version="1",
        started_at=NOW - timedelta(seconds=old),
        seen_at=NOW - timedelta(seconds=age),
        age=age,
        alive=age <= 30,
    )


WORKER = process("worker", *CONTROL)
BUILDER = process("builds", BUILDS, f"{BUILDS}.a")
BEAT = process("beat")


def life(*processes: Process, tick_age: float | None = 3, stale: bool = False) -> Liveness:
    return Liveness(NOW, processes, tick_age, stale)


UNKNOWN = Trouble("there is no provisioner 'doker'", "did you mean docker?")
WELL = Examination(
    CONTROL,
    BUILDS,
    schema=SchemaFact("0005", "0005"),
    redis=REDIS,
    clock_skew=0.1,
    liveness=life(WORKER, BUILDER, BEAT),
    provisioners=[ProvisionerFact("process", ("dev",))],
    disk=DISK,
)


def test_nothing_is_wrong() -> None:
    assert diagnose(WELL) == []
    assert diagnose(replace(WELL, disk=None, clock_skew=None, schema=SchemaFact("0009", "0005", "0004"))) == []


@pytest.mark.parametrize(
    ("changed", "symptom", "sentence", "then"),
    [
        (
            {"database": Trouble("the database x could not be used: refused", "start it"), "liveness": None},
            Symptom.DATABASE_UNREACHABLE,
            "could not be used: refused",
            "start it",
        ),
        (
            {"schema": SchemaFact("0004", "0005"), "liveness": None},
            Symptom.SCHEMA_BEHIND,
            "the database is at schema 0004; this release needs schema 0005",
            "prebuild db upgrade",
        ),
        (
            {"schema": SchemaFact("", "0005"), "liveness": None},
            Symptom.SCHEMA_BEHIND,
            "the database has no prebuild tables yet",
            "prebuild db upgrade",
        ),
        (
            {"schema": SchemaFact("0007", "0005", "0006")},
            Symptom.SCHEMA_AHEAD,
            "uses schema 0005, and the database supports only 0006 and later",
            "install the release",
        ),
        (
            {"redis": Trouble("Redis at r did not answer: refused", "start it"), "liveness": life(
                WORKER, BUILDER, BEAT, tick_age=300, stale=True
            )},
            Symptom.REDIS_UNREACHABLE,
            "did not answer",
            "start it",
        ),
        (
            {"redis": replace(REDIS, policy="allkeys-lru")},
            Symptom.REDIS_EVICTS,
            "its maxmemory-policy is allkeys-lru",
            "redis-cli config set maxmemory-policy noeviction",
        ),
        ({"redis": replace(REDIS, used=95, limit=100)}, Symptom.REDIS_FULL, "95% of its maxmemory", "raise maxmemory"),
        ({"redis": replace(REDIS, not_writable="x")}, Symptom.REDIS_READ_ONLY, "refuses writes: x", "info"),
        ({"redis": replace(REDIS, version="5.0.14")}, Symptom.REDIS_OLD, "5.0.14 is older than 6.2", "upgrade it"),
        ({"clock_skew": 400.0}, Symptom.CLOCK_SKEW, "clock is 7 min ahead of the database's", "NTP"),
        ({"clock_skew": -6.0}, Symptom.CLOCK_SKEW, "clock is 6 s behind the database's", "NTP"),
        (
            {"liveness": life(BUILDER, BEAT, process("worker", *CONTROL, age=200), tick_age=200, stale=True)},
            Symptom.NO_WORKER,
            "no control worker is running, so pools are not being reconciled; the last was seen 3 min ago on a",
            "celery worker",
        ),
        (
            {"liveness": life(WORKER, BEAT), "bound_builds": {"a": 2}},
            Symptom.NO_BUILDS_WORKER,
            "no builds worker is running, so nothing is built or deleted; none has been seen",
            "celery builds",
        ),
        (
            {"liveness": life(WORKER, BUILDER, tick_age=90, stale=True)},
            Symptom.NO_BEAT,
            "no scheduler (beat) is running, so pools are not being refilled",
            "celery beat",
        ),
        (
            {"liveness": life(WORKER, BUILDER, BEAT, process("beat", host="b", pid=9))},
            Symptom.TWO_BEATS,
            "2 schedulers (beat) are running, on a (process 7), b (process 9)",
            "kill 7",
        ),
        (
            {
                "liveness": life(process("worker", *CONTROL[:2], CONTROL[3]), BUILDER, BEAT),
                "waiting": {"p.claims": 4},
            },
            Symptom.QUEUE_UNSERVED,
            "no worker consumes the queue p.claims, where 4 messages wait",
            "add it to the -Q option of a worker",
        ),
        (
            {"bound_builds": {"a": 1, "b": 2}, "liveness": life(
                WORKER, BUILDER, BEAT, process("builds", BUILDS, f"{BUILDS}.b", host="b", age=7000)
            )},
            Symptom.HOST_SILENT,
            "2 builds can run only on the host b, and its builds worker is not running; the last was seen 117 min ago",
            "PREBUILD_HOST=b celery builds",
        ),
        (
            {"liveness": life(WORKER, BUILDER, BEAT, tick_age=300, stale=True), "waiting": {"p.default": 9}},
            Symptom.TICK_STALE,
            ("the last tick ended 5 min ago although beat and a control worker are running: one of them hangs or "
            "cannot reach Redis; 9 messages wait in the queue p.default"),
            "restart beat and the worker",
        ),
        (
            {"liveness": life(WORKER, BUILDER, BEAT, tick_age=None, stale=True)},
            Symptom.TICK_STALE,
            "no tick has ever ended",
            "logs",
        ),
        (
            {"bad_timezones": {PoolName("dev", "small"): "Europe/Berlim"}},
            Symptom.TIMEZONE_UNKNOWN,
            "the timezone Europe/Berlim of dev/small is unknown on this machine",
            "tzdata",
        ),
        (
            {"provisioners": [ProvisionerFact("doker", ("dev",), UNKNOWN, unknown=True)]},
            Symptom.PROVISIONER_UNKNOWN,
            "there is no provisioner 'doker', which dev needs (did you mean docker?)",
            "prebuild apply FILE",
        ),
        (
            {"provisioners": [ProvisionerFact("docker", ("dev", "web"), Trouble("no answer", "start it"))]},
            Symptom.PROVISIONER_FAILS,
            "the provisioner docker of dev, web fails: no answer",
            "start it",
        ),
        ({"disk": replace(DISK, writable=False)}, Symptom.DATA_DIR_UNWRITABLE, "cannot write to /data", "chown"),
        ({"disk": replace(DISK, free_bytes=5 << 20)}, Symptom.DISK_FULL, "nearly full: 5 MiB left", "free some space"),
        ({"disk": replace(DISK, free_files=3)}, Symptom.DISK_FULL, "room for 3 files left", "free some space"),
    ],
)  # fmt: skip
def test_one_thing_is_wrong(changed: dict[str, Any], symptom: Symptom, sentence: str, then: str) -> None:
    [finding] = diagnose(replace(WELL, **changed))
    assert finding.symptom is symptom
    assert sentence in finding.sentence
    assert then in next_step(finding.hint, finding.remedy, START)


def test_everything_that_can_be_wrong_is_in_the_table() -> None:
    [table] = [mark for mark in test_one_thing_is_wrong.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    assert {row[1] for row in table.args[1]} == set(Symptom)


def test_a_beat_that_was_killed_and_has_a_successor_is_none_of_two() -> None:
    killed = process("beat", pid=6, age=20)
    successor = process("beat", pid=8, age=1, old=15)
    assert diagnose(replace(WELL, liveness=life(WORKER, BUILDER, killed, successor))) == []


def test_a_beat_or_a_worker_that_has_just_begun_has_time() -> None:
    for just_begun in ([WORKER, process("beat", old=40)], [process("worker", *CONTROL, old=40), BEAT]):
        late = life(BUILDER, *just_begun, tick_age=9000, stale=True)
        assert diagnose(replace(WELL, liveness=late)) == []
        assert check_role(late, "beat", "")[0]


def test_several_things_are_told_causes_first() -> None:
    changed = replace(
        WELL, redis=Trouble("no answer", "start it"), liveness=life(tick_age=600, stale=True), clock_skew=60
    )
    assert [finding.symptom for finding in diagnose(changed)] == [
        Symptom.REDIS_UNREACHABLE, Symptom.NO_WORKER, Symptom.NO_BUILDS_WORKER, Symptom.NO_BEAT, Symptom.CLOCK_SKEW,
    ]  # fmt: skip


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
