"""The deployed form: beat, worker and builds as the Procfile starts them, on PostgreSQL and Redis."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py
from sqlalchemy import text

from prebuild_tasks.storage.engine import Database
from tests.e2e.service import Service, deployed, procfile

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
    for process in service.processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(30) for process in service.processes] == [0, 0, 0]
    assert not service.left()


def test_a_worker_that_is_newer_than_its_database_says_so_and_exits(service: Service, postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    database.close()
    for name in ("worker", "builds"):
        process = service.start(*procfile()[name], program="celery")
        assert process.wait(60) == 2
        assert "next: run: prebuild db upgrade" in service.output()
