"""Each problem gives one finding, and none for its consequences."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from prebuild_tasks.insight.doctor.facts import (
    ApiFact,
    DefaultsFact,
    DiskFact,
    Examination,
    ProvisionerFact,
    RedisFact,
    SchemaFact,
    SilenceFact,
    Trouble,
)
from prebuild_tasks.insight.doctor.findings import Symptom
from prebuild_tasks.insight.doctor.roles import check_role
from prebuild_tasks.insight.doctor.rules import diagnose
from prebuild_tasks.insight.status.rules import PoolProblem
from prebuild_tasks.insight.status.views import PoolCheck, PoolStatus
from prebuild_tasks.model.names import PoolName, PresetRef
from prebuild_tasks.remedy_commands import StartCommands, next_step
from prebuild_tasks.webhooks import Backlog
from tests.insight.doctor.processes import BEAT, BUILDER, BUILDS, CONTROL, WORKER, life, process
from tests.insight.doctor.tokens import token

START = StartCommands("celery worker", "celery builds", "celery webhooks", "celery beat")
REDIS = RedisFact("7.0.15", "noeviction", used=10, limit=0)
POOL = PoolStatus(PresetRef("dev", "small"), 2, 0, 0, 0, 2, 0, "backoff", "", "no disk")
EMPTY = PoolCheck(POOL, (PoolProblem.SHORT,), 2, timedelta(seconds=45))
BLOCKED = PoolCheck(replace(POOL, reason="hard_limited"), (PoolProblem.HARD_LIMITED,))
DISK = DiskFact("/data", writable=True, free_bytes=50 << 30, free_files=10**6)
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
    webhooks_queue="p.webhooks",
    backlog=Backlog(webhooks=0, pending=0, oldest_age=0, dead=0),
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
            {"database_is_read_only": True},
            Symptom.DATABASE_READ_ONLY,
            "takes no writes",
            "point PREBUILD_DATABASE_URL at the primary",
        ),
        (
            {"pooler": Trouble("the database x is behind a pooler", "set PREBUILD_DATABASE_POOLER=transaction")},
            Symptom.DATABASE_POOLER,
            "behind a pooler",
            "set PREBUILD_DATABASE_POOLER=transaction",
        ),
        (
            {"role_defaults": DefaultsFact([("lock_timeout", "0")], "ALTER ROLE \"app\" SET lock_timeout = '2000';")},
            Symptom.DATABASE_ROLE,
            "unsuitable defaults of their user: lock_timeout 0",
            "ALTER ROLE \"app\" SET lock_timeout = '2000';",
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
                "waiting": {"p.claims": 1},
            },
            Symptom.QUEUE_UNSERVED,
            "no worker consumes the queue p.claims, where 1 message waits",
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
        (
            {"silences": [SilenceFact("command", None, "no route", probes=5, builds=1, lists=1)]},
            Symptom.PROVISIONER_UNREACHABLE,
            "the provisioner command could not be asked (5 probes, 1 list, 1 build on hold): no route",
            "make what is behind it answer",
        ),
        (
            {"silences": [SilenceFact("command", waiting=6)]},
            Symptom.PREBUILDS_MISSING,
            "6 prebuilds missing from the list of the provisioner command",
            "prebuild sweep --confirm",
        ),
        ({"disk": replace(DISK, writable=False)}, Symptom.DATA_DIR_UNWRITABLE, "cannot write to /data", "chown"),
        ({"disk": replace(DISK, free_bytes=5 << 20)}, Symptom.DISK_FULL, "nearly full: 5 MiB left", "free some space"),
        ({"disk": replace(DISK, free_files=3)}, Symptom.DISK_FULL, "room for 3 files left", "free some space"),
        ({"short_ports": "20000-20001"}, Symptom.PORTS_SHORT, "the ports 20000-20001 of this machine", "widen"),
        ({"api": ApiFact("https://x", trouble="refused")}, Symptom.API_UNREACHABLE, "https://x: refused", "the proxy"),
        ({"api": ApiFact("https://x", "ready", "", True)}, Symptom.METRICS_OPEN, "without a token", "refuse /metrics"),
        ({"tokens": [token()]}, Symptom.TOKEN_EXPIRES, "portal expires in 3 d", "prebuild token rotate portal"),
        ({"log_lag": 90.0}, Symptom.EVENTS_NOT_NUMBERED, "has no number", "celery webhooks"),
        (
            {"backlog": Backlog(webhooks=2, pending=3, oldest_age=1, dead=0)},
            Symptom.NO_WEBHOOKS_WORKER,
            "no webhooks worker is running, so 2 webhooks cannot be told of anything; none has been seen",
            "start one: celery webhooks",
        ),
        (
            {"backlog": Backlog(webhooks=0, pending=0, oldest_age=0, dead=3)},
            Symptom.DELIVERIES_DEAD,
            "given up within a day: 3",
            "prebuild webhook list",
        ),
        ({"pools": [EMPTY]}, Symptom.POOL_EMPTY, "dev/small has been empty for more than 45 s", "explain dev"),
        ({"pools": [BLOCKED]}, Symptom.POOL_BLOCKED, "nothing is built for dev/small: hard limited", "explain dev"),
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


def test_a_webhooks_worker_counts_as_no_other_one() -> None:
    sends = process("webhooks", "p.webhooks")
    waiting = Backlog(webhooks=2, pending=3, oldest_age=1, dead=0)
    assert diagnose(replace(WELL, liveness=life(WORKER, BUILDER, BEAT, sends), backlog=waiting)) == []
    symptoms = [finding.symptom for finding in diagnose(replace(WELL, liveness=life(BEAT, sends)))]
    assert symptoms == [Symptom.NO_WORKER, Symptom.NO_BUILDS_WORKER]


def test_a_beat_that_was_killed_and_has_a_successor_is_none_of_two() -> None:
    killed = process("beat", pid=6, age=20)
    successor = process("beat", pid=8, age=1, old=15)
    assert diagnose(replace(WELL, liveness=life(WORKER, BUILDER, killed, successor))) == []


def test_a_beat_or_a_worker_that_has_just_begun_has_time() -> None:
    for just_begun in ([WORKER, process("beat", old=40)], [process("worker", *CONTROL, old=40), BEAT]):
        late = life(BUILDER, *just_begun, tick_age=9000, stale=True)
        assert diagnose(replace(WELL, liveness=late)) == []
        assert check_role(late, "beat", "")[0]


def test_workers_without_a_connection_are_not_called_missing() -> None:
    facts = replace(WELL, liveness=life(process("worker", host="b"), process("worker"), process("builds"), BEAT))
    control, builds = diagnose(facts)
    assert (control.symptom, builds.symptom) == (Symptom.NO_WORKER, Symptom.NO_BUILDS_WORKER)
    assert control.sentence.endswith("so pools are not being reconciled; Redis refuses 2 on a, b, or is away")
    assert builds.sentence.startswith("no builds worker is running with a connection to Redis")
    assert control.remedy is None


def test_several_things_are_told_causes_first() -> None:
    changed = replace(
        WELL, redis=Trouble("no answer", "start it"), liveness=life(tick_age=600, stale=True), clock_skew=60
    )
    assert [finding.symptom for finding in diagnose(changed)] == [
        Symptom.REDIS_UNREACHABLE, Symptom.NO_WORKER, Symptom.NO_BUILDS_WORKER, Symptom.NO_BEAT, Symptom.CLOCK_SKEW,
    ]  # fmt: skip
