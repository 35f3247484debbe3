"""Two installations in one Redis database: neither sees the other's workers, events or messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py

from prebuild_tasks.config import load_settings
from tests.support.servers import migrate
from tests.support.service import ROOT, Service, procfile
from tests.support.spawned_redis import SpawnedRedis
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.servers, pytest.mark.timeout(240)]
POOLS = """
schema: 1
templates:
  - {name: t, provisioner: simulated, config: {}, presets: [{name: small, desired: 1}]}
"""
CLAIM = """
from prebuild_tasks.celery import app
asked = app.send_task("prebuild_tasks.claim", kwargs={"presets": ["t/small"], "owner": "ada"})
print(asked.get(timeout=60)["preset"])
"""
EVENTS = """
from prebuild_tasks.celery import app
def stop(event):
    print(event["type"])
    receiver.should_stop = True
with app.connection_for_read() as connection:
    receiver = app.events.Receiver(connection, handlers={"worker-heartbeat": stop})
    receiver.capture(limit=None, timeout=60)
"""


def documented(namespace: str) -> list[str]:
    """Return the rights in docs/security.md for a namespace."""
    page = (ROOT / "docs" / "security.md").read_text()
    [block] = re.findall(r"^ACL SETUSER prebuild on >PASSWORD (.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [
        f"&/{namespace.replace('.', ':')}/{right.removeprefix('&/prebuild/').replace('prebuild', namespace)}"
        if right.startswith("&/")
        else right.replace("prebuild", namespace)
        for right in block.split()
    ]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[SpawnedRedis]:
    server = SpawnedRedis(tmp_path / "redis")
    server.spawn()
    server.wait_ready(server.process)
    yield server
    server.stop()


def installation(place: Path, redis: SpawnedRedis, namespace: str) -> Service:
    """Prepare an installation whose Redis user has the documented rights only."""
    with redis_py.Redis.from_url(redis.url) as client:
        client.execute_command("ACL", "SETUSER", f"u-{namespace}", "on", ">pw", *documented(namespace))
    service = Service(
        place / namespace / "d",
        PREBUILD_REDIS_URL=redis.url.replace("unix://", f"unix://u-{namespace}:pw@"),
        PREBUILD_NAMESPACE=namespace,
        PREBUILD_RECONCILE_INTERVAL="1s",
    )
    service.fork_celery()
    service.data_dir.mkdir(parents=True)
    migrate(load_settings(service.environment).resolved_database_url)
    return service


def start(service: Service, *kinds: str) -> None:
    space = service.environment["PREBUILD_NAMESPACE"]
    for position, kind in enumerate(kinds):
        # Both installations use the same names of workers.
        service.start(
            *(word.replace("prebuild.", f"{space}.") for word in procfile()[kind]),
            *([] if kind == "beat" else ["-n", f"{kind}@box"]),
            program="celery",
        )
        if kind != "beat":
            wait_until(lambda position=position: " ready." in service.output(position), timeout=60, what=kind)  # type: ignore[misc]


def refusals(redis: SpawnedRedis) -> set[str]:
    """Return what was refused, but for what workers and redis-py do without: old keys, and naming the library."""
    with redis_py.Redis.from_url(redis.url) as client:
        entries = client.acl_log(128)
    return {str(entry["object"]) for entry in entries} - {"unacked_index", "client", "client|setinfo"}


def test_remote_control_stays_within_a_namespace(tmp_path: Path, redis: SpawnedRedis) -> None:
    """`celery control shutdown` used to stop the workers of every installation in the same Redis."""
    one, two = (installation(tmp_path, redis, namespace) for namespace in ("one", "one.b"))
    try:
        for service in (one, two):
            start(service, "builds")
        assert "1 node online" in one.run("-A", "prebuild_tasks", "inspect", "ping", program="celery")
        one.output_of("-A", "prebuild_tasks", "control", "shutdown", program="celery")  # nobody is left to reply
        assert one.processes[0].wait(60) == 0
        assert "1 node online" in two.run("-A", "prebuild_tasks", "inspect", "ping", program="celery")
        assert two.processes[0].poll() is None
        assert refusals(redis) == set()
    finally:
        one.kill()
        two.kill()


@pytest.mark.deploys
def test_the_documented_rights_are_enough_for_everything(tmp_path: Path, redis: SpawnedRedis) -> None:
    service = installation(tmp_path, redis, "some.where")
    try:
        start(service, "worker", "builds", "beat")
        (tmp_path / "some.where" / "pools.yaml").write_text(POOLS)
        service.run("apply", "pools.yaml")
        service.wait_full()
        assert service.run("-c", CLAIM, program="python") == "t/small\n"
        assert "worker-heartbeat" in service.run("-c", EVENTS, program="python")
        assert "2 nodes online" in service.run("-A", "prebuild_tasks", "inspect", "ping", program="celery")
        service.wait_full()
        service.run("doctor")
        assert refusals(redis) == set()
        with redis_py.Redis.from_url(redis.url) as client:
            foreign = [key for key in client.scan_iter() if b"some.where" not in key]  # type: ignore[union-attr]
        assert foreign == []
    finally:
        service.kill()
