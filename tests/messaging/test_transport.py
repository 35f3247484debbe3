"""The transport with which the app reads: one unreadable message does not end a worker."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.servers
def test_a_used_app_tolerates_unreadable_messages() -> None:
    script = (
        "from prebuild_tasks import app\n"
        "with app.connection_for_read() as connection:\n    print(connection.transport.Channel.__module__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PREBUILD_REDIS_URL": "redis://127.0.0.1:1/0"}, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == "prebuild_tasks.messaging.transport\n"
