"""After a machine or container went down with all its processes, claimed workspaces are served again."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from tests.support.http import answer
from tests.support.service import deployed, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.deploys, pytest.mark.timeout(240)]
POOLS = """
schema: 1
templates:
  - name: dev
    config: {start: "true", serve: "exec python3 -m http.server --bind 127.0.0.1 $PORT"}
    presets: [{name: small, desired: 1}]
"""


def test_a_claimed_url_answers_again(tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    with deployed(tmp_path, POOLS, postgres_url, redis_url, PREBUILD_RECONCILE_INTERVAL="1h") as service:
        for name in ("worker", "builds"):
            builds = service.start(*procfile()[name], program="celery")
        service.run("apply", "pools.yaml")
        service.wait_full()
        url = service.json("claim", "dev/small", "--owner", "ada")["url"]
        service.wait_full()
        assert answer(url) == 200
        service.interrupt(builds, signal.SIGTERM)
        assert answer(url) == 200, "a worker that ends takes nothing along"
        for process in psutil.process_iter():
            try:
                if service.data_dir.as_posix() in process.environ().get("HOME", "") and "http.server" in str(
                    process.cmdline()
                ):
                    process.kill()
            except (psutil.Error, OSError):
                continue
        wait_until(lambda: answer(url) == 0, what="the end of what was served")
        service.start(*procfile()["builds"], program="celery")
        wait_until(lambda: answer(url) == 200, timeout=60, what="the claimed workspace")
        assert service.run("audit") == "clean\n"
