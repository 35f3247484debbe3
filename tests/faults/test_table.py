"""The fault table, rows 1 to 11: faults injected into real workers, beats, Redis and PostgreSQL.

Each row is a number of trials under load. A sampler checks the invariants all the time; at the end, everything must
be as desired again without help. `make test-faults` runs a few trials of each row, `make test` those of row 1, and
`make faults` all of them.
"""

from __future__ import annotations

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from sqlalchemy import select, text

from prebuild_tasks.claims.session import ClaimSession
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.publisher import Messages
from prebuild_tasks.messaging.queues import BUILDS, EVENTS, RECONCILE
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.release import end_workspace
from tests.faults.cluster import NAMES, TICK, Cluster
from tests.faults.trials import BUILD_STEPS, IN_CLUSTER, TURN_STEPS, Report, in_turn, refill, trials
from tests.support.wait import wait_until

pytestmark = IN_CLUSTER


@trials(6, 300)
def test_row_1_killed_at_each_step(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    load = deployment.load(chance)
    steps = in_turn(TURN_STEPS + BUILD_STEPS, count, chance)
    for number, step in enumerate(steps):
        # One process (a child, in a control worker), or the whole worker.
        deployment.arm(step, "SIGKILL" if number % 2 else "SIGKILL group")
        wait_until(lambda step=step: deployment.struck(step), timeout=60, what=f"a death at {step}")  # type: ignore[misc]
        time.sleep(chance.random() * 0.3)
    load.stop()
    deployment.calm()
    report(f"{count} killed, {load.hits} claims, {deployment.sampler.samples} samples")


@pytest.mark.trials
@trials(2, 200)
def test_row_2_frozen_past_the_lock(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    load = deployment.load(chance)
    for step in in_turn(TURN_STEPS, count, chance):
        deployment.arm(step, "SIGSTOP group")
        wait_until(deployment.frozen, timeout=60, what=f"a frozen worker at {step}")
        time.sleep(1.2)  # the lock's TTL is what passes
        deployment.thaw()
        wait_until(lambda: not deployment.frozen(), what="it goes on")
    load.stop()
    deployment.calm()
    report(f"{count} frozen, {load.hits} claims")


@pytest.mark.trials
@trials(3, 100)
def test_row_3_redis_dies_and_forgets(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    times, down = [], 0
    for number in range(count):
        load = deployment.load(chance)
        time.sleep(0.3)
        with deployment.redis_client() as client:
            if number % 3 == 0:
                deployment.kill_redis()
                before = load.hits + load.misses
                time.sleep(chance.random())
                wait_until(lambda load=load, before=before: load.hits + load.misses > before, what="a claim")  # type: ignore[misc]
                down += load.hits + load.misses - before
                deployment.start_redis()
            elif number % 3 == 1:
                client.flushall()
            else:
                for key in client.scan_iter("prebuild:lock:*"):
                    client.delete(key)
        load.stop()
        times.append(refill(deployment, 30))
    deployment.calm()
    report(f"{count} times, {down} claims while it was down, consuming again after at most {max(times):.1f} s")


@pytest.mark.trials
@trials(1, 50)
def test_row_4_redis_is_a_black_hole(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    times: list[float] = []
    usual: list[float] = []
    latencies: list[float] = []
    for _ in range(count):
        load = deployment.load(chance)
        wait_until(lambda load=load: len(load.latencies) >= 6, what="claims without a fault")  # type: ignore[misc]
        deployment.redis_proxy.hang()
        before = len(load.latencies)
        time.sleep(1 + 4 * chance.random())
        wait_until(lambda load=load, before=before: len(load.latencies) > before, what="a claim")  # type: ignore[misc]
        usual += load.latencies[:before]
        latencies += load.latencies[before:]
        deployment.redis_proxy.heal()
        load.stop()
        times.append(refill(deployment, 40))  # the health check's 10 s, and 30
    deployment.calm()
    floor, p99 = (sorted(seconds)[int(len(seconds) * 0.99)] for seconds in (usual, latencies))
    assert p99 < 0.5 + floor, "a busy machine makes claims slow without a fault, too"
    report(f"{count} times, consuming again after at most {max(times):.1f} s, {len(latencies)} claims, p99 {p99:.3f} s")


@pytest.mark.trials
@trials(3, 100)
def test_row_5_postgresql_restarts(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    load = deployment.load(chance)
    lost = deployment.postgres_proxy.cut
    for number in range(count):
        match number % 3:
            case 0:
                deployment.postgres.restart(signal.SIGINT)
            case 1:
                deployment.postgres.restart(signal.SIGQUIT)
            case _:
                before = deployment.postgres_proxy.cut
                deployment.postgres_proxy.lose_commits(3)
                wait_until(lambda before=before: deployment.postgres_proxy.cut >= before + 3, what="lost commits")  # type: ignore[misc]
        time.sleep(chance.random())
    load.stop()
    deployment.calm()
    lost = deployment.postgres_proxy.cut - lost
    report(f"{count} times, {lost} commits without an answer, {load.hits} claims, {load.unreachable} asked again")


@pytest.mark.trials
@trials(10, 500)
def test_row_6_duplicates(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    messages, session = Messages(deployment.settings), ClaimSession(deployment.settings)
    load = deployment.load(chance)
    sent = 0
    for number in range(count):
        times = chance.randint(2, 5)
        with session.database.read() as connection:
            query = select(m.Build.id, m.Build.queue).order_by(m.Build.created_at.desc()).limit(20)
            builds = [(row.id, row.queue) for row in connection.execute(query)]
            presets = [str(identity) for identity in connection.execute(select(m.Preset.id)).scalars()]
        build, queue = chance.choice(builds)
        sent += messages.builds({queue: [build] * times})
        sent += messages.reconcile([chance.choice(presets)] * times)
        if number % 5 == 0:
            request = ClaimRequest(f"d-{number}-{os.urandom(3).hex()}", NAMES)
            with ThreadPoolExecutor(times) as pool:
                answers = list(pool.map(lambda _, asked=request: _same(session, asked), range(times)))
            assert len(set(answers) - {None}) <= 1
            for answer in set(answers) - {None}:
                ending = end_workspace(session.database, f"{request.owner}/{answer}", actor="test")
                session.send(ending.follow_up)
    load.stop()
    deployment.calm()
    session.close()
    report(f"{count} times 2 to 5 at once, {sent} messages")


def _same(session: ClaimSession, request: ClaimRequest) -> str | None:
    try:
        return session.claim(request).answer.workspace
    except Exception:  # noqa: BLE001 - a miss, or too busy
        return None


@pytest.mark.trials
@trials(2, 100)
def test_row_7_lost_messages(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    settings, times, lost = deployment.settings, [], 0
    for _ in range(count):
        load = deployment.load(chance)
        until = monotonic() + 0.5 + chance.random()
        with deployment.redis_client() as client:
            queues = [settings.queue(EVENTS), settings.queue(RECONCILE), settings.queue(BUILDS)]
            queues.append(settings.queue(BUILDS, settings.host))
            while monotonic() < until:
                for queue in queues:
                    lost += len(client.lpop(queue, 100) or [])
        load.stop()
        started = monotonic()
        deployment.wait_full(60)
        times.append(monotonic() - started)
    deployment.calm()
    report(f"{count} times, {lost} messages, full again after at most {max(times):.1f} s")


def ticks(deployment: Cluster) -> int:
    with deployment.redis_client() as client:
        return int(client.get("prebuild:tick-number") or 0)  # type: ignore[arg-type]


SATURATED = 90.0
"""Percentage of all processors' time. Above it, the number of ticks that should have been made is unknown."""


def window_with_ticks(deployment: Cluster, count: int) -> tuple[int, float]:
    """Count ticks and elapsed intervals until there are as many ticks as `count` intervals should have.

    There is never more than one tick per interval. There is at least one per two intervals if the machine has time to
    spare; on a saturated machine, ticks only have to keep coming, in one window after another.
    """
    deadline = monotonic() + 300
    made, passed = 0, 0.0
    while made < count * 0.5:
        psutil.cpu_percent()
        # In this order, so that the elapsed time is never less than the time the ticks had.
        started, before = monotonic(), ticks(deployment)
        time.sleep(count * TICK)
        now, intervals = ticks(deployment) - before, (monotonic() - started) / TICK
        assert now <= intervals / 0.9 + 1, "one tick per interval, whose key lives for nine tenths of it"
        if psutil.cpu_percent() < SATURATED:
            assert now >= intervals * 0.5, "and they do not keep each other from it"
        made, passed = made + now, passed + intervals
        assert monotonic() < deadline, f"{made} ticks in {passed:.0f} intervals"
    return made, passed


@pytest.mark.trials
@trials(6, 50)
def test_row_8_several_beats(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    load = deployment.load(chance)
    for extra in (1, 4):
        names = [f"beat-{extra}-{number}" for number in range(extra)]
        for name in names:
            deployment.add_beat(name)
        wait_until(lambda names=names: all(map(deployment.is_here, names)), timeout=120, what="the beats")  # type: ignore[misc]
        made, passed = window_with_ticks(deployment, count)
        report(f"{extra + 1} beats: {made} ticks in {passed:.0f} intervals")
        for name in names:
            deployment.remove(name)
    load.stop()
    deployment.calm()


@pytest.mark.trials
@trials(2, 100)
def test_row_8_a_beat_killed_and_a_beat_frozen(
    deployment: Cluster, chance: random.Random, report: Report, count: int
) -> None:
    worst = 0
    for number in range(count):
        if number % 2:
            deployment.signal("beat", signal.SIGKILL)
        else:
            deployment.signal("beat", signal.SIGSTOP)
            time.sleep((20 if count > 2 else 6) * TICK)
            started, before = monotonic(), ticks(deployment)
            deployment.signal("beat", signal.SIGCONT)
            time.sleep(TICK)
            made = ticks(deployment) - before
            # Two, unless this test woke up late: then as many as fit into the time, and no more.
            due = int((monotonic() - started) / (0.9 * TICK))
            assert made <= 1 + due, "at most the one to catch up, and the next"
            worst = max(worst, made)
        before = ticks(deployment)
        wait_until(lambda before=before: ticks(deployment) > before, timeout=60, what="the next tick")  # type: ignore[misc]
    deployment.calm()
    report(f"{count} times, at most {worst} ticks in the interval after it was frozen")


@pytest.mark.trials
@trials(1, 200)
def test_row_11_builds_frozen_past_their_lease(
    deployment: Cluster, chance: random.Random, report: Report, count: int
) -> None:
    """The old attempt wakes up after the new one has ended, and its late result is refused."""
    database = Database.of(deployment.settings)
    query = text("SELECT count(*) FILTER (WHERE attempt > 1), count(*) FILTER (WHERE status = 'failed') FROM builds")
    with database.read() as connection:
        before = connection.execute(query).one()
    load = deployment.load(chance)
    for step in in_turn([step for step in BUILD_STEPS if "during" not in step], count, chance):
        deployment.arm(step, "SIGSTOP group")
        frozen = wait_until(deployment.frozen, timeout=60, what=f"a frozen worker at {step}")
        time.sleep(2.5 + chance.random())  # the lease is what passes
        deployment.thaw()
        assert frozen
    load.stop()
    deployment.calm()
    with database.read() as connection:
        after = connection.execute(query).one()
    database.close()
    again, failed = (now - then for now, then in zip(after, before, strict=True))
    assert failed == 0, "a lost worker does not count as a failure"
    report(f"{count} frozen, {again} builds tried again so far, none failed")
