"""Several builds workers: none keeps a build waiting that another could run, and a dead one's builds do not wait for
the sweep. No beat runs here, so that nothing else repairs anything."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest
import redis as redis_py
from sqlalchemy import select, update

from prebuild_tasks.clock import monotonic, utcnow
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.publisher import Messages
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.outbox import send
from tests.faults.trials import Report
from tests.support.builders import declare_simulated, turn
from tests.support.service import Service, deployed, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
ROUNDS, KILLS = 200, 20
TIMEOUT = 4.0
"""Seconds that a lease lasts."""
MANY, SLOTS = 16, 2
HARDLY = 1.04
"""Times the floor within which many builds of a second each are done, from the turn that creates them."""
LATE = 1.3
"""Times a lease's length within which another worker has the build of a dead one."""


class Build(NamedTuple):
    id: str
    status: BuildStatus
    attempt: int
    runner: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def pid(self) -> int:
        """The process of the worker that has it."""
        return int(self.runner.split("/")[1])


class Workers:
    """Builds workers, and turns that this process runs."""

    def __init__(self, service: Service, database: Database, settings: Settings) -> None:
        self.service, self.database, self.settings = service, database, settings
        self.messages = Messages(settings)

    def start(self, number: int, threads: int) -> list[subprocess.Popen[str]]:
        """Start workers, and wait until they consume."""
        names = [f"b{len(self.service.processes) + index}@%h" for index in range(number)]
        line = procfile()["builds"]
        made = [
            self.service.start(*line, "-n", name, "-c", str(threads), "--loglevel=INFO", program="celery")
            for name in names
        ]
        pids = {process.pid for process in made}
        wait_until(lambda: pids <= self.announced(), timeout=120, what="the workers", pause=0.1)
        return made

    def announced(self) -> set[int]:
        """Return the processes of all workers that have ever announced themselves."""
        with self.database.read() as connection:
            return {int(name.split("/")[1]) for name in connection.execute(select(m.Worker.name)).scalars()}

    def build(self, number: int, build_time: float) -> list[str]:
        """Have so many prebuilds built, in place of all former ones, and return the ids of their builds."""
        known = {build.id for build in self.builds()}
        with self.database.write() as connection:
            connection.execute(update(m.Workspace).values(deleted_at=utcnow(), slot=None))
        declare_simulated(self.database, self.settings, number, config=f"{{build_time: {build_time}}}")
        result = turn(self.database, self.settings)
        send(self.database, self.messages, result.follow_up)
        made = [build.id for build in self.builds() if build.id not in known]
        assert len(made) == number
        return made

    def builds(self, *ids: str) -> list[Build]:
        columns = [getattr(m.Build, name) for name in Build._fields]
        query = select(*columns).order_by(m.Build.created_at, m.Build.id)
        with self.database.read() as connection:
            rows = connection.execute(query.where(m.Build.id.in_(ids)) if ids else query)
            return [Build(*row) for row in rows]

    def ended(self, ids: Sequence[str]) -> list[Build]:
        """Wait until all of these builds have succeeded, and return them."""

        def done() -> list[Build]:
            found = self.builds(*ids)
            return found if all(it.status is BuildStatus.SUCCEEDED for it in found) else []

        return wait_until(done, what="their ends")

    def running(self, *ids: str) -> list[Build]:
        return [build for build in self.builds(*ids) if build.status is BuildStatus.RUNNING]

    def taken_over(self, build: Build) -> float:
        """Measure the seconds until another worker has the build."""
        started = monotonic()
        wait_until(lambda: [it for it in self.running(build.id) if it.attempt > build.attempt], what="its next attempt")
        return monotonic() - started


@contextmanager
def workers(place: Path, postgres_url: str, redis_url: str) -> Iterator[Workers]:
    environment = {"PREBUILD_HEARTBEAT_TIMEOUT": f"{TIMEOUT}s", "PREBUILD_BUILD_ATTEMPTS": "100"}
    with deployed(place, "", postgres_url, redis_url, **environment) as service:
        yield service.asked(lambda database, settings: Workers(service, database, settings))


def test_a_free_worker_takes_what_waits_in_another_and_what_it_leaves(
    tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    with workers(tmp_path, postgres_url, redis_url) as them:
        them.service.fork_celery()
        [first] = them.start(1, threads=1)
        ids = them.build(2, build_time=300)
        [own] = wait_until(lambda: them.running(*ids), what="the first build")
        with redis_py.Redis.from_url(redis_url) as client:
            wait_until(lambda: client.hlen("prebuild.unacked") == 1, what="a message, received to wait")
            # If the worker looked between the commit and the messages, it has taken the first build without one. Then
            # what waits in it is the first's, and another worker would simply receive the second's.
            client.delete("prebuild.builds")
        [other] = them.start(1, threads=2)
        wait_until(lambda: len(them.running(*ids)) == 2, timeout=10, what="the second, on the free worker")
        assert {build.pid for build in them.running(*ids)} == {first.pid, other.pid}
        first.kill()
        assert them.taken_over(own) < LATE * TIMEOUT
        assert {build.pid for build in them.running(*ids)} == {other.pid}
        assert "run_build" in them.service.output(), "as tasks like any other"


@pytest.mark.timed
@pytest.mark.thorough
def test_many_builds_take_hardly_longer_than_they_must(
    tmp_path: Path, postgres_url: str, redis_url: str, report: Report
) -> None:
    """With `worker_disable_prefetch`, which also lets none wait in a busy worker, they took half as long again."""
    with workers(tmp_path, postgres_url, redis_url) as them:
        them.service.fork_celery()
        them.start(1, threads=SLOTS)
        them.ended(them.build(SLOTS, build_time=0.1))  # what the first ones import
        without = time_of(them.ended(them.build(MANY, build_time=0)))
        took = time_of(them.ended(them.build(MANY, build_time=1)))
    ideal = MANY / SLOTS
    floor = ideal + without
    report(
        f"{MANY} builds of 1 s on {SLOTS} threads in {took:.2f} s, {took / ideal:.3f} x the ideal; "
        f"{took / floor:.3f} x the ideal with what as many cost that take no time, {without:.2f} s"
    )
    assert took <= HARDLY * floor


def time_of(done: Sequence[Build]) -> float:
    """Return the seconds from the first request to the last end."""
    ends = [it.completed_at for it in done if it.completed_at]
    return (max(ends) - min(it.created_at for it in done)).total_seconds()


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_no_build_waits_behind_a_busy_worker(tmp_path: Path, postgres_url: str, redis_url: str, report: Report) -> None:
    with workers(tmp_path, postgres_url, redis_url) as them:
        them.start(2, threads=4)
        waits, late = [], 0
        for _ in range(ROUNDS):
            ids = them.build(8, build_time=1)
            done = them.ended(ids)
            seen = [(it.started_at - it.created_at).total_seconds() for it in done if it.started_at]
            waits += seen
            late += max(seen) > 0.9
        report(f"{late} of {ROUNDS} rounds, the longest wait {max(waits):.2f} s")
        assert late == 0


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("left", [1, 2])
def test_builds_of_a_dead_worker_are_taken_over_in_time(
    tmp_path: Path, postgres_url: str, redis_url: str, chance: random.Random, report: Report, left: int
) -> None:
    took = []
    with workers(tmp_path, postgres_url, redis_url) as them:
        by_pid = {process.pid: process for process in them.start(left + 1, threads=4)}
        [build_id] = them.build(1, build_time=1800)
        for _ in range(KILLS):
            [build] = wait_until(lambda: them.running(build_id), what="the build")
            with pytest.raises(subprocess.TimeoutExpired):  # at any moment of its renewals
                by_pid[build.pid].wait(2 + chance.random() * TIMEOUT / 4)
            victim = by_pid.pop(build.pid)
            victim.send_signal(signal.SIGKILL)
            took.append(them.taken_over(build))
            by_pid |= {process.pid: process for process in them.start(1, threads=4)}
    report(f"{KILLS} killed with {left} left, taken over after at most {max(took) / TIMEOUT:.2f} x the timeout")
    assert max(took) < LATE * TIMEOUT
