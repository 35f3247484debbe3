"""The deployed form: beat, worker and builds as the Procfile starts them, on PostgreSQL and Redis."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis as redis_py
from sqlalchemy import text

from prebuild_tasks.db.engine import Database
from tests.support.service import Service, deployed, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

POOLS = """
schema: 1
templates:
  - name: dev
    config: {start: "sleep 1; echo made"}
    presets: [{name: small, desired: 3}]
"""


@pytest.fixture
def service(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Service]:
    with deployed(tmp_path, POOLS, postgres_url, redis_url) as service:
        yield service


@pytest.mark.deploys
def test_from_an_empty_database_to_a_full_pool_with_beat_alone(service: Service, redis_url: str) -> None:
    service.run("apply", "pools.yaml")
    with redis_py.Redis.from_url(redis_url) as client:
        client.flushall()  # apply's own message is lost: beat's tick has to do
    lines = procfile()
    for name in ("worker", "builds", "beat"):
        service.start(*lines[name], program="celery")
    service.wait_full()
    answer = service.json("claim", "dev/small", "--owner", "ada")
    assert answer["state"] == "usable"
    service.wait_full()
    assert service.run("audit") == "clean\n"
    found = service.liveness()
    assert {process.role for process in found.processes if process.alive} == {"worker", "builds", "beat"}
    assert len(found.serving("prebuild.events")) == 1
    assert [process.role for process in found.serving("prebuild.builds")] == ["builds"]
    assert not found.tick_stale
    assert service.run("doctor").endswith("nothing is wrong\n")
    for role in ("worker", "builds", "beat", "db", "redis"):
        service.run("health", "--role", role)
    replace_children(service.processes[0])
    service.json("claim", "dev/small", "--owner", "bob")
    service.wait_full()
    for process in service.processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(60) for process in service.processes] == [0, 0, 0]
    service.wait_gone()
    assert not any(process.alive for process in service.liveness().processes), "each said good-bye"
    service.run("health", "--role", "worker", expect=8)
    doubts = service.run("doctor", expect=8)
    assert [word for word in ("no_worker", "no_builds_worker", "no_beat", "3 found") if word not in doubts] == []


def replace_children(worker: subprocess.Popen[str]) -> None:
    """A prefork worker forks while its presence has spoken from another thread: the new children work."""
    before = psutil.Process(worker.pid).children()
    for child in before:
        child.kill()
    wait_until(
        lambda: len([c for c in psutil.Process(worker.pid).children() if c not in before]) >= len(before),
        what="new children",
    )


def test_a_worker_that_is_newer_than_its_database_says_so_and_exits(service: Service, postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    database.close()
    service.fork_celery()
    for name in ("worker", "builds"):
        process = service.start(*procfile()[name], program="celery")
        assert process.wait(60) == 2
        assert "next: run: prebuild db upgrade" in service.output()
