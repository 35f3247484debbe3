"""The shipped Procfile under honcho, from an empty database to a full pool and the end of every process."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.http import answer, fetch, free_port
from tests.support.servers import empty
from tests.support.service import ROOT, Service
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.deploys, pytest.mark.timeout(180)]

POOLS = """
schema: 1
templates:
  - {name: dev, config: {start: "echo made"}, presets: [{name: small, desired: 2}]}
"""
PASSWORD = "operator:fl0wer-password"


def test_from_an_empty_database_to_a_full_pool(tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    empty(postgres_url)
    ports = {"FLOWER_PORT": free_port(), "PREBUILD_EXPORTER_PORT": free_port(), "PREBUILD_SERVE_PORT": free_port()}
    service = Service(
        tmp_path / "x" / "d",
        PREBUILD_DATABASE_URL=postgres_url,
        PREBUILD_REDIS_URL=redis_url,
        PREBUILD_RECONCILE_INTERVAL="1s",
        FLOWER_BASIC_AUTH=PASSWORD,
        **{name: str(port) for name, port in ports.items()},
    )
    (service.data_dir.parent / "pools.yaml").write_text(POOLS)
    try:
        service.run("db", "upgrade")
        service.run("apply", "pools.yaml")
        honcho = service.start("-d", ".", "-f", str(ROOT / "Procfile"), "start", program="honcho")
        service.wait_full()
        flower = f"http://127.0.0.1:{ports['FLOWER_PORT']}"
        wait_until(lambda: answer(flower) == 401, timeout=60, what="Flower")
        assert answer(flower, "operator:wrong") == 401
        assert answer(flower, PASSWORD) == 200
        service.run("claim", "dev/small", "--owner", "ada")
        service.wait_full()
        exporter = f"http://127.0.0.1:{ports['PREBUILD_EXPORTER_PORT']}/metrics"
        wait_until(lambda: answer(exporter) == 200, timeout=60, what="the exporter")
        metrics = fetch(exporter).decode()
        assert "prebuild_desired{" in metrics
        for role in ("worker", "builds", "webhooks", "beat", "db", "redis", "serve"):
            service.run("health", "--role", role)
        assert answer(f"http://127.0.0.1:{ports['PREBUILD_SERVE_PORT']}/v1/pools") == 401
        page = fetch(f"{flower}/tasks", PASSWORD).decode()
        assert all(f'data-column="{column}"' in page for column in ("args", "result")), "the pool, and what was done"
        seen = wait_until(lambda: finished(flower), timeout=60, what="tasks in Flower")
        assert seen["prebuild_tasks.reconcile_preset"]["result"].startswith("{'preset': 'dev/small', 'outcome': ")
        assert seen["prebuild_tasks.reconcile_preset"]["args"] == "('dev/small',)"
        ran = seen["prebuild_tasks.run_build"]["args"]
        assert re.fullmatch(r"\('[0-9a-f-]{36}: (start of prebuild-[a-z0-9-]+|claim of [a-z0-9-]+)',\)", ran), ran
        assert seen["prebuild_tasks.run_build"]["result"].startswith("{'outcome': 'succeeded', 'build': ")
        assert service.run("audit") == "clean\n"
        assert service.interrupt(honcho, signal.SIGTERM) == 128 + signal.SIGTERM
        wait_until(lambda: not service.left(), timeout=60, what=f"the end of {service.left()}")
    finally:
        service.kill()


def finished(flower: str) -> dict[str, dict[str, Any]]:
    """Return the tasks that Flower saw succeed, one per name; empty until both expected ones are there.

    A turn that found the pool's lock taken reports only the pool's number, and `idle` is said by a message whose build
    another thread had already taken, because it was free first.
    """
    tasks = json.loads(fetch(f"{flower}/api/tasks?state=SUCCESS", PASSWORD)).values()
    nothing_done = ("busy", "'outcome': 'idle'")
    seen = {task["name"]: task for task in tasks if not any(part in str(task["result"]) for part in nothing_done)}
    return seen if {"prebuild_tasks.reconcile_preset", "prebuild_tasks.run_build"} <= seen.keys() else {}
