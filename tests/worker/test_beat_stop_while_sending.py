"""SIGTERM while beat was sending a message made it exit with 1, by "invalid operation on closed shelf".

Celery's handler closed the schedule file and the connection before it raised SystemExit; sending failed first, the
error was logged as the message's, and the loop went on with a closed file. About one in twelve rolling deployments on
a busy machine showed it; with a slow Redis, nearly every SIGTERM did.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import redis as redis_py

from tests.support.service import Service, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e]
SENDING = "Sending due task"


def test_beat_ends_while_it_sends(tmp_path: Path, redis_url: str) -> None:
    service = Service(tmp_path / "d", PREBUILD_REDIS_URL=redis_url, PREBUILD_RECONCILE_INTERVAL="0.5s")
    service.fork_celery()
    beat = service.start(*procfile()["beat"], "--loglevel", "INFO", program="celery")
    try:
        with redis_py.Redis.from_url(redis_url) as client:
            wait_until(lambda: client.llen("prebuild.default"), timeout=60, what="beat's first message")
            client.client_pause(4000)
            sent = service.output().count(SENDING)
            wait_until(lambda: service.output().count(SENDING) > sent, timeout=60, what="a message that is being sent")
            assert service.interrupt(beat, signal.SIGTERM) == 0, service.output()
        assert "Traceback" not in service.output()
    finally:
        service.kill()
