"""A host's own queue stood after the shared one, in a worker that empties its queues in order: with a thousand starts
waiting, nothing local was deleted or probed until the last of them was done."""

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
