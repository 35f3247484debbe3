"""A worker reconnects after every error of the broker, of whatever kind; it used to end."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis as redis_py
from celery import Celery
from celery.worker.consumer import consumer
from celery.worker.consumer.events import Events
from celery.worker.consumer.gossip import Gossip
from celery.worker.consumer.mingle import Mingle
from celery.worker.worker import WorkController
from kombu import Connection, Producer, Queue
from kombu.exceptions import OperationalError
from kombu.transport import redis as transport
from redis.exceptions import NoPermissionError, ReadOnlyError

from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.messaging.publisher import Messages
from prebuild_tasks.messaging.transport import Channel
from prebuild_tasks.model.redis_url import parse_redis_url
from prebuild_tasks.worker.config import celery_configuration
from prebuild_tasks.worker.consumer import BrokerFailedError, Consumer
from tests.support.servers import migrate
from tests.support.service import Service, procfile
from tests.support.spawned_redis import SpawnedRedis
from tests.support.wait import wait_until

REFUSALS = ("READONLY", "NOPERM", "NOAUTH", "MISCONF", "killed twice")
KNOWN = {
    "Consumer.__init__": "c27ca6ec2d4b",
    "Consumer.start": "53bd1abe3456",
    "Consumer.ensure_connected": "3f79cf3bb6d6",
    "Consumer.on_connection_error_before_connected": "7297b2be7355",
    "Consumer.on_connection_error_after_connected": "4f84dbfff329",
    "Consumer.on_ready": "16eff40603fe",
    "Consumer.on_close": "e96d425dce0a",
    "Blueprint.start": "830340ac6a97",
    "Blueprint.restart": "78a79091ccdb",
    "Events.__init__": "1f94300bc448",
    "Gossip.__init__": "a38f7af7bdf4",
    "Mingle.__init__": "1b4339cd4174",
    "WorkController.start": "744832e50b02",
    "Channel.close": "101e9b9cdad4",
    "QoS.restore_visible": "d4a4a40a3eaf",
    "QoS.restore_by_tag": "58e161d81b6f",
}
"""Digests of the functions on whose working `worker/consumer.py` and `messaging/transport.py` rely."""


def test_celery_has_not_changed_what_the_consumer_relies_on() -> None:
    """If this fails: read what changed, adapt the class if need be, then write the new digests."""
    parts: list[Any] = [consumer.Consumer, consumer.Consumer.Blueprint, Events, Gossip, Mingle, WorkController]
    found = {}
    for part in (*parts, transport.Channel, transport.QoS):
        for name in KNOWN:
            if name.partition(".")[0] == part.__name__:
                source = inspect.getsource(getattr(part, name.partition(".")[2]))
                found[name] = hashlib.sha256(source.encode()).hexdigest()[:12]
    assert found == KNOWN


@pytest.mark.parametrize(("kind", "is_on"), [(consumer.Consumer, True), (Consumer, False)])
def test_workers_do_not_talk_to_each_other(kind: type[consumer.Consumer], is_on: bool) -> None:
    """Gossip's own errors ended workers, and Celery gives a broker up after 100 attempts."""
    app = Celery(set_as_current=False)
    app.config_from_object(celery_configuration(Settings()))
    controller = SimpleNamespace(use_eventloop=False)
    steps = {type(step) for step in kind(lambda request: None, app=app, controller=controller).steps}
    assert Events in steps
    assert {Gossip in steps, Mingle in steps} == {is_on}
    assert app.conf.broker_connection_max_retries is None


def made(*, was_ready: bool) -> Any:
    made = Consumer.__new__(Consumer)
    made.was_ready = was_ready
    made.connection_errors = (ConnectionError,)
    made.channel_errors = (ReadOnlyError,)
    return made


def wrapped(cause: Exception) -> Exception:
    """Wrap an error as kombu does when a channel has to connect again."""
    error = OperationalError(str(cause))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("error", [ReadOnlyError("x"), AttributeError("x"), TypeError("x"), NoPermissionError("x")])
def test_once_ready_every_error_reconnects(error: Exception) -> None:
    assert isinstance(made(was_ready=True).converted(error), BrokerFailedError)


def test_before_that_only_errors_of_redis_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREBUILD_REDIS_URL", "redis://:s3cret@127.0.0.1:1/0")
    before = made(was_ready=False)
    for error in (ReadOnlyError("x"), ConnectionError("x")):
        assert isinstance(before.converted(error), BrokerFailedError)
        assert isinstance(before.converted(wrapped(error)), BrokerFailedError)
    assert isinstance(before.converted(TypeError("x")), TypeError)
    assert isinstance(before.converted(wrapped(NoPermissionError("x"))), SystemExit)
    capsys.readouterr()
    ended = before.converted(NoPermissionError("this user has no permissions"))
    assert isinstance(ended, SystemExit)
    assert ended.code == 7
    said = capsys.readouterr().err
    assert "refused the credentials: this user has no permissions\n  next: give the user the rights" in said
    assert "s3cret" not in said


def test_a_pool_that_cannot_be_flushed_does_not_end_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    def flush() -> None:
        raise BrokenPipeError("a child has died")

    closing = made(was_ready=True)
    closing.controller, closing.timer, closing.task_buckets = None, None, {}
    closing.pool = SimpleNamespace(flush=flush)
    closing.on_close()
    assert "a child has died" in caplog.text


@pytest.fixture
def lost(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A message in hand, and its channel, whose connection is gone."""
    monkeypatch.setattr(transport.Transport, "Channel", Channel)
    channel: Any = Connection(parse_redis_url(redis_url).for_celery).channel()
    queue = Queue("q", channel=channel)
    queue.declare()
    Producer(channel).publish("x", routing_key="q")
    message = queue.get()
    assert message is not None
    channel.connection.client = None  # as kombu leaves a connection that it gave up
    return message, channel


def left_in_redis(redis_url: str) -> int:
    with redis_py.Redis.from_url(redis_url) as client:
        return client.hlen("unacked")


@pytest.mark.servers
def test_a_channel_that_has_lost_its_connection_closes(redis_url: str, lost: tuple[Any, Any]) -> None:
    """Kombu's raises "'NoneType' object has no attribute 'hostname'" with messages in hand, which ended the worker."""
    _, channel = lost
    channel.close()
    assert channel.closed
    assert left_in_redis(redis_url) == 1, "it stays in Redis, to be delivered again"


@pytest.mark.servers
@pytest.mark.parametrize("end", ["ack", "reject", "requeue"])
def test_a_task_that_ends_after_its_connection_was_lost_fails_nothing(
    redis_url: str, lost: tuple[Any, Any], end: str
) -> None:
    """Kombu's raises "'NoneType' object has no attribute 'client'" in the new connection's loop, which ended that."""
    message, channel = lost
    channel.close()
    getattr(message, end)()
    assert left_in_redis(redis_url) == 1, "it stays in Redis, to be delivered again"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Service, SpawnedRedis]]:
    redis = SpawnedRedis(tmp_path / "redis")
    redis.spawn()
    redis.wait_ready(redis.process)
    service = Service(tmp_path / "x" / "d", PREBUILD_REDIS_URL=redis.url, PREBUILD_RECONCILE_INTERVAL="1s")
    service.data_dir.mkdir()
    service.fork_celery()
    migrate(load_settings(service.environment).resolved_database_url)
    try:
        yield service, redis
    finally:
        service.kill()
        redis.stop()


@pytest.mark.e2e
@pytest.mark.servers
def test_a_redis_that_comes_up_with_another_password_ends_a_worker_that_was_never_ready(tmp_path: Path) -> None:
    """Kombu takes refused credentials for a lost connection: a worker that found no Redis at first tried for ever."""
    redis = WithPassword(tmp_path / "redis")
    service = Service(tmp_path / "x" / "d", PREBUILD_REDIS_URL=redis.url)
    service.data_dir.mkdir()
    service.fork_celery()
    migrate(load_settings(service.environment).resolved_database_url)
    try:
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
    finally:
        service.kill()
        redis.stop()


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
