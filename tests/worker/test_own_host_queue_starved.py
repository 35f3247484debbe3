"""A worker serves its queues in order, and the host's own queue came after the shared one: with a thousand starts
waiting, no local workspace was deleted or probed until the last of them was done."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
from types import SimpleNamespace
from prebuild_tasks.celery import app
from prebuild_tasks.worker.signals import consume_own_host
app.amqp.queues.select(["prebuild.builds"])
consume_own_host(SimpleNamespace(app=app))
print(*app.amqp.queues.consume_from)
"""


def test_the_hosts_own_queue_comes_first() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"PREBUILD_HOST": "here", "PREBUILD_REDIS_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["prebuild.builds.here", "prebuild.builds"]
