"""Which workers send webhooks, and which refuse to start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import Service, deployed
from tests.support.wait import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]
POOLS = "schema: 1\ntemplates: []\n"


@pytest.fixture
def service(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Service]:
    with deployed(tmp_path, POOLS, postgres_url, redis_url) as service:
        service.fork_celery()
        yield service


def test_a_worker_that_forks_leaves_the_queue_to_others(service: Service) -> None:
    service.start("worker", "-c", "1", "-Q", "prebuild.events,prebuild.webhooks", program="celery")
    wait_until(lambda: service.liveness().alive("worker"), timeout=60, what="the worker")
    [process] = service.liveness().alive("worker")
    assert process.queues == ("prebuild.events",)
    assert "webhooks_not_sent" in service.output()


def test_a_worker_of_everything_with_threads_sends_them_too(service: Service) -> None:
    service.start("worker", "-P", "threads", "-c", "1", program="celery")
    wait_until(lambda: service.liveness().serving("prebuild.webhooks"), timeout=60, what="the worker")
    assert [process.role for process in service.liveness().processes] == ["builds"]
    service.run("health", "--role", "webhooks")


def test_a_key_that_others_can_read_ends_it(service: Service) -> None:
    key = service.data_dir / "secret-key"
    key.write_text("00" * 32)
    key.chmod(0o644)
    worker = service.start("worker", "-P", "threads", "-Q", "prebuild.webhooks", program="celery")
    assert worker.wait(60) == 2
    assert f"next: run: chmod 600 {key}" in service.output()
    assert "Traceback" not in service.output()
