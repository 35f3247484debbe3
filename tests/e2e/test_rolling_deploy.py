"""A rolling deployment with a migration loses no build, and makes no claim wait."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from prebuild_tasks.client import Client
from prebuild_tasks.config import load_settings
from prebuild_tasks.db.engine import Database
from tests.support.service import deployed, procfile

pytestmark = [pytest.mark.e2e, pytest.mark.deploys, pytest.mark.timeout(240)]
POOLS = """
schema: 1
templates:
  - name: dev
    provisioner: simulated
    config: {build_time: {uniform: [0.5, 1.5]}}
    presets: [{name: small, desired: 4}]
"""


def test_a_release_after_another(tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    # Six processes start while builds run: with a lease of 2 s, a delayed build would rightly begin again.
    with deployed(tmp_path, POOLS, postgres_url, redis_url, PREBUILD_HEARTBEAT_TIMEOUT="10s") as service:
        lines = procfile()
        kinds = ("worker", "builds", "beat")
        old = [service.start(*lines[name], *unique(name, "old"), program="celery") for name in kinds]
        service.run("apply", "pools.yaml")
        service.wait_full()
        client, over, answers = Client(settings=load_settings(service.environment)), threading.Event(), list[str]()

        def people() -> None:
            while not over.wait(0.3):
                answer = client.claim("dev/small", owner=f"o-{os.urandom(3).hex()}", wait=20)
                answers.append(f"{answer.owner}/{answer.workspace}")

        person = threading.Thread(target=people)
        person.start()
        expand(postgres_url)
        new = [service.start(*lines[name], *unique(name, "new"), program="celery") for name in kinds]
        for process in old:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(60) for process in old] == [0, 0, 0], "whoever is told to stop does, and in order"
        asked = len(answers)
        service.wait_full() if over.wait(3) else None
        over.set()
        person.join(60)
        client.close()
        assert len(answers) > asked > 0, "people were served all the time"
        assert len(set(answers)) == len(answers)
        service.wait_full()
        assert all(process.poll() is None for process in new)
        assert {(row["status"], row["attempt"]) for row in service.json("builds")} == {("succeeded", 1)}
        assert service.run("audit") == "clean\n"


def unique(name: str, age: str) -> list[str]:
    return [] if name == "beat" else ["-n", f"{name}-{age}@%h"]


def expand(url: str) -> None:
    """Migrate like a future release: the migration only adds, so that this release still works."""
    database = Database(url)
    with database.write() as connection:
        connection.execute(text("ALTER TABLE workspaces ADD COLUMN coming text"))
        connection.execute(text("CREATE TABLE coming (id bigint PRIMARY KEY)"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    database.require_schema()
    database.close()
