"""A control worker that got SIGTERM while handing a turn to a child took half a minute to end.

Celery forgets such a turn, because its message is requeued, and never reads the child's result; billiard's child waits
30 s for that. On a busy machine, every second stop was slow [celery 5.7, billiard 4.3].
"""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
import redis as redis_py

from prebuild_tasks.config import load_settings
from prebuild_tasks.messaging.publisher import Messages
from prebuild_tasks.messaging.queues import EVENTS
from tests.support.servers import migrate
from tests.support.service import Service, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e]


def test_a_worker_ends_while_it_hands_out_a_turn(tmp_path: Path, redis_url: str) -> None:
    service = Service(tmp_path / "d", PREBUILD_REDIS_URL=redis_url, PREBUILD_LOG_LEVEL="DEBUG")
    service.fork_celery()
    settings = load_settings(service.environment)
    migrate(settings.resolved_database_url)
    worker = service.start(*procfile()["worker"], program="celery")
    try:
        with redis_py.Redis.from_url(redis_url) as client:
            wait_until(lambda: " ready." in service.output(), timeout=60, what="the worker")
            children = psutil.Process(worker.pid).children()
            assert len(children) == 2
            for child in children:
                child.suspend()
            Messages(settings).reconcile(["998", "999"])
            wait_until(lambda: client.hlen("prebuild.unacked") == 2, timeout=60, what="two turns that are handed out")
            worker.send_signal(signal.SIGTERM)
            wait_until(lambda: "Stopping Pool" in service.output(), timeout=60, what="the wait for the children")
            for child in children:
                child.resume()
            assert worker.wait(25) == 0, service.output()  # with the bug it took 30 s or more
            assert client.llen(settings.queue(EVENTS)) == 2, "whoever comes next does them"
    finally:
        service.kill()
