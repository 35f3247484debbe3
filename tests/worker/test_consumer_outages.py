"""A worker and a beat outlive a Redis that answers with errors, and end when it refuses them at their start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import redis as redis_py

from prebuild_tasks.config import load_settings
from prebuild_tasks.messaging.publisher import Messages
from tests.support.servers import migrate
from tests.support.service import Service, procfile
from tests.support.spawned_redis import SpawnedRedis
from tests.support.wait import wait_until

REFUSALS = ("READONLY", "NOPERM", "NOAUTH", "MISCONF", "killed twice")


@contextmanager
def beside(redis: SpawnedRedis, place: Path) -> Iterator[Service]:
    """Deploy beside a Redis, which need not run yet. Both end with the block."""
    service = Service(place / "x" / "d", PREBUILD_REDIS_URL=redis.url, PREBUILD_RECONCILE_INTERVAL="1s")
    service.data_dir.mkdir()
    service.fork_celery()
    migrate(load_settings(service.environment).resolved_database_url)
    try:
        yield service
    finally:
        service.kill()
        redis.stop()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Service, SpawnedRedis]]:
    redis = SpawnedRedis(tmp_path / "redis")
    redis.spawn()
    redis.wait_ready(redis.process)
    with beside(redis, tmp_path) as service:
        yield service, redis


@pytest.mark.e2e
@pytest.mark.servers
def test_a_redis_that_comes_up_with_another_password_ends_a_worker_that_was_never_ready(tmp_path: Path) -> None:
    """Kombu takes refused credentials for a lost connection: a worker that found no Redis at first tried for ever."""
    redis = WithPassword(tmp_path / "redis")
    with beside(redis, tmp_path) as service:
        processes = [service.start(*procfile()[name], program="celery") for name in ("worker", "beat")]
        for position, process in enumerate(processes):
            wait_until(lambda at=position: "Error 2 connecting to" in service.output(at), timeout=60, what="an attempt")  # type: ignore[misc]
            assert process.poll() is None
        redis.spawn()
        for position, process in enumerate(processes):
            assert process.wait(60) == 7
            said = service.output(position)
            assert "refused the credentials: Authentication required" in said
            assert "next: correct the user and password in PREBUILD_REDIS_URL" in said
            assert "Traceback" not in said


@pytest.mark.e2e
@pytest.mark.servers
def test_children_that_die_before_redis_is_there_are_replaced(tmp_path: Path) -> None:
    """Their queues stayed taken: the worker had fewer children for ever, or ended when it lost Redis again."""
    redis = SpawnedRedis(tmp_path / "redis")
    with beside(redis, tmp_path) as service:
        worker = psutil.Process(service.start(*procfile()["worker"], program="celery").pid)
        wait_until(lambda: "Error 2 connecting to" in service.output(0), timeout=60, what="an attempt")
        first = worker.children()
        assert len(first) == 2
        for child in first:
            child.kill()
        redis.spawn()
        wait_until(lambda: "ready." in service.output(0), timeout=60, what="the worker")
        wait_until(lambda: len(set(worker.children()) - set(first)) == 2, timeout=60, what="two other children")
        assert "StopIteration" not in service.output(0)


class WithPassword(SpawnedRedis):
    """A Redis that wants a password."""

    def arguments(self) -> list[str]:
        return [*super().arguments(), "--requirepass", "s3cret"]


def admin(redis: SpawnedRedis) -> redis_py.Redis:
    return redis_py.Redis.from_url(redis.url.replace("unix://", "unix://admin:pw@"))


def rotate(redis: SpawnedRedis, *rights: str) -> None:
    with admin(redis) as client:
        client.execute_command("ACL", "SETUSER", "default", "reset", *rights)


def begin(kind: str, redis: SpawnedRedis) -> None:
    with admin(redis) as client:
        match kind:
            case "READONLY":
                client.replicaof("127.0.0.1", 1)
            case "NOPERM":
                rotate(redis, "on", "nopass", "+@all", "allchannels")
            case "NOAUTH":
                rotate(redis, "on", ">another", "allkeys", "+@all", "allchannels")
                client.client_kill_filter(user="default", skipme=True)
            case "MISCONF":
                (redis.directory / "in-the-way.rdb").mkdir()
                client.config_set("dbfilename", "in-the-way.rdb")
                client.config_set("save", "1 1")
                wait_until(lambda: _refuses(client), timeout=30, what="a snapshot that fails")
            case _:
                restart(redis)


def _refuses(client: redis_py.Redis) -> bool:
    try:
        client.incr("written")
    except redis_py.ResponseError:
        return True
    return False


def restart(redis: SpawnedRedis) -> None:
    assert redis.process
    redis.process.kill()
    redis.process.wait()
    redis.spawn()
    redis.wait_ready(redis.process)
    with redis_py.Redis.from_url(redis.url) as client:
        client.execute_command("ACL", "SETUSER", "admin", "on", ">pw", "allkeys", "allchannels", "+@all")


def end(kind: str, redis: SpawnedRedis) -> None:
    with admin(redis) as client:
        match kind:
            case "READONLY":
                client.execute_command("REPLICAOF", "NO", "ONE")
            case "NOPERM" | "NOAUTH":
                rotate(redis, "on", "nopass", "allkeys", "allchannels", "+@all")
            case "MISCONF":
                client.config_set("save", "")
                (redis.directory / "in-the-way.rdb").rmdir()
                client.bgsave()
                wait_until(lambda: not _refuses(client), timeout=30, what="a snapshot")
            case _:
                restart(redis)


@pytest.mark.e2e
@pytest.mark.servers
@pytest.mark.timeout(240)
@pytest.mark.thorough
def test_a_worker_and_a_beat_outlive_whatever_redis_answers(service: tuple[Service, SpawnedRedis]) -> None:
    it, redis = service
    with redis_py.Redis.from_url(redis.url) as client:
        client.execute_command("ACL", "SETUSER", "admin", "on", ">pw", "allkeys", "allchannels", "+@all")
    builds, beat = (it.start(*procfile()[name], program="celery") for name in ("builds", "beat"))
    wait_until(lambda: "ready." in it.output(0), timeout=60, what="the builds worker")
    for kind in REFUSALS:
        logged = len(it.output(0))
        begin(kind, redis)
        if kind != "killed twice":
            wait_until(lambda logged=logged: "broker" in it.output(0)[logged:], timeout=60, what=f"{kind} noticed")  # type: ignore[misc]
        if kind == "READONLY":
            wait_until(lambda: it.liveness().disconnected("builds"), timeout=60, what="a worker that says so")
            assert "with a connection to Redis" in it.run("health", "--role", "builds", expect=8)
        end(kind, redis)
        wait_until(lambda: consumes(it), timeout=60, what=f"consuming after {kind}")
        wait_until(lambda: ticks(redis), timeout=60, what=f"a tick after {kind}")
        assert builds.poll() is None, it.output(0)[-3000:]
        assert beat.poll() is None, it.output(1)[-3000:]
    wait_until(lambda: not it.liveness().disconnected("builds"), timeout=60, what="a worker that says that it consumes")
    it.run("health", "--role", "builds")


def consumes(service: Service) -> bool:
    """Send a message for a build that does not exist, and look whether it is taken."""
    settings = load_settings(service.environment)
    messages = Messages(settings)
    queue = settings.queue("builds")
    sent = messages.builds({"": ["00000000-0000-0000-0000-000000000000"]})
    taken: Callable[[], bool] = lambda: messages.waiting(queue) == 0  # noqa: E731
    with suppress(AssertionError):
        wait_until(taken, timeout=3, what="taken")
    return bool(sent) and taken()


def ticks(redis: SpawnedRedis) -> bool:
    with redis_py.Redis.from_url(redis.url) as client:
        return bool(client.llen("prebuild.default")) and bool(client.delete("prebuild.default"))
