"""A worker reconnects after every error of the broker, of whatever kind; it used to end."""

from __future__ import annotations

import hashlib
import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import redis as redis_py
from celery import Celery
from celery.concurrency.asynpool import AsynPool
from celery.worker.consumer import consumer
from celery.worker.consumer.events import Events
from celery.worker.consumer.gossip import Gossip
from celery.worker.consumer.mingle import Mingle
from celery.worker.worker import WorkController
from kombu import Connection, Producer, Queue
from kombu.exceptions import OperationalError
from kombu.transport import redis as transport
from redis.exceptions import NoPermissionError, ReadOnlyError

from prebuild_tasks.config import Settings
from prebuild_tasks.messaging.transport import Channel
from prebuild_tasks.model.redis_url import parse_redis_url
from prebuild_tasks.worker.config import celery_configuration
from prebuild_tasks.worker.consumer import BrokerFailedError, Consumer

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
    "AsynPool.get_process_queues": "0803f420705e",
    "AsynPool._process_cleanup_queues": "5666c1c61162",
    "Channel.close": "101e9b9cdad4",
    "QoS.restore_visible": "d4a4a40a3eaf",
    "QoS.restore_by_tag": "58e161d81b6f",
}
"""Digests of the functions on which `worker/consumer.py`, `worker/pool.py` and `messaging/transport.py` rely."""


def test_celery_has_not_changed_what_the_consumer_relies_on() -> None:
    """If this fails: read what changed, adapt the class if need be, then write the new digests."""
    parts: list[Any] = [consumer.Consumer, consumer.Consumer.Blueprint, Events, Gossip, Mingle, WorkController]
    found = {}
    for part in (*parts, AsynPool, transport.Channel, transport.QoS):
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
