"""The transport with which the app reads: one unreadable message does not end a worker."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import redis as redis_py
from kombu import Connection, Queue
from kombu.transport import redis as transport

from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import Settings
from prebuild_tasks.messaging.transport import Channel, restore_former
from prebuild_tasks.worker.config import transport_options


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


@pytest.mark.servers
def test_messages_in_hand_of_release_0_1_are_delivered_again(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They lie under keys that every application in the database shares; only this installation's may be touched."""
    settings = Settings(redis_url=redis_url)
    ours = [settings.queue("builds", "box"), settings.queue("events")]
    with Connection(settings.celery_broker_url) as before, redis_py.Redis.from_url(redis_url) as client:
        for name in (*ours, "celery", "prebuild.builder"):
            queue = Queue(name, channel=before.default_channel)
            queue.declare()
            before.Producer().publish("x", routing_key=name)
            assert queue.get() is not None
        assert client.hlen("unacked") == 4
        monkeypatch.setattr(transport.Transport, "Channel", Channel)
        options = transport_options(settings)
        with Connection(settings.celery_broker_url, transport_options=options) as now:
            channel: Any = now.default_channel
            assert restore_former(channel, utcnow().timestamp() - 300) == 0, "they may still be at work"
            assert restore_former(channel, utcnow().timestamp() + 1) == 2
            assert restore_former(channel, utcnow().timestamp() + 1) == 0
        assert [client.llen(name) for name in (*ours, "celery", "prebuild.builder")] == [1, 1, 0, 0]
        assert client.hlen("unacked") == client.zcard("unacked_index") == 2
        again = json.loads(client.lrange(ours[0], 0, 0)[0])  # type: ignore[index]
        assert again["headers"]["redelivered"] is True
        before.default_channel.qos.restore_at_shutdown = False  # type: ignore[attr-defined]  # the Redis transport has it


@pytest.mark.servers
def test_former_keys_that_cannot_be_read_disturb_nothing(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(redis_url=redis_url)
    monkeypatch.setattr(transport.Transport, "Channel", Channel)
    options = transport_options(settings)
    with (
        Connection(settings.celery_broker_url, transport_options=options) as connection,
        redis_py.Redis.from_url(redis_url) as client,
    ):
        client.set("unacked_index", "not a sorted set")
        channel: Any = connection.default_channel
        channel.qos.restore_visible(num=10, interval=1)
