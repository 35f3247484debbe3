"""Messages that redis-py sends alone are, byte for byte, those of kombu, which workers of every release read."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import redis

from prebuild_tasks.config import Settings
from prebuild_tasks.messaging.direct import DirectMessages
from prebuild_tasks.messaging.publisher import Messages
from prebuild_tasks.messaging.sender import TaskSender

BUILD = "0a1b2c3d-0000-4000-8000-000000000000"


@pytest.fixture
def both(settings: Settings, redis_url: str) -> Iterator[tuple[redis.Redis, Messages, DirectMessages]]:
    settings = settings.model_copy(update={"redis_url": redis_url})
    direct = DirectMessages(settings.resolved_redis_url, settings.queue, timeout=10)
    with redis.Redis.from_url(settings.resolved_redis_url) as client:
        yield client, Messages(settings), direct
    direct.close()


def sent(sender: TaskSender) -> bool:
    woken = sender.wake(["7", "8"], 60, shown={"7": "täm/plate"})
    return woken and sender.builds({"": [BUILD], "host": [BUILD]}, shown={BUILD: "claim of calm-otter"}) == 2


def test_the_bytes_are_those_of_kombu(
    both: tuple[redis.Redis, Messages, DirectMessages], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, *senders = both
    written = []
    for sender in senders:
        numbers = itertools.count()
        for module in ("publisher", "direct"):
            monkeypatch.setattr(f"prebuild_tasks.messaging.{module}.new_task_id", lambda n=numbers: f"id-{next(n)}")
        assert sent(sender)
        keys = sorted(client.keys("*"))
        written.append({key: list(client.lrange(key, 0, -1)) for key in keys if b"." in key})
        client.flushdb()
    theirs, ours = (
        {key: [_without_tags(payload) for payload in payloads] for key, payloads in one.items()} for one in written
    )
    assert ours == theirs
    assert [len(payloads) for payloads in ours.values()] == [1, 1, 2]


def _without_tags(payload: bytes) -> str:
    """Return the text with its ids, which each library makes anew and in its own order, replaced."""
    message = json.loads(payload)
    properties, headers = message["properties"], message["headers"]
    assert properties["correlation_id"] == headers["id"] == headers["root_id"]
    text = payload.decode()
    for one in (properties["delivery_tag"], headers["id"]):
        text = text.replace(f'"{one}"', '"id"')
    return text


def test_what_is_not_sent_is_logged_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    waking, building = (DirectMessages("redis://127.0.0.1:1/0", lambda *parts: ".".join(parts)) for _ in range(2))
    assert waking.wake(["1"]) is False
    assert building.builds({"": [BUILD]}) == 0
    assert ["wake_up_not_sent" in caplog.text, "not_published" in caplog.text] == [True, True], "each client logs once"


def test_it_can_be_closed_while_a_wake_up_still_waits(recwarn: pytest.WarningsRecorder) -> None:
    """The thread that sends failed with a traceback when the connection was closed under it."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as black_hole:
        direct = DirectMessages(
            f"redis://127.0.0.1:{black_hole.getsockname()[1]}/0", lambda *parts: ".".join(parts), timeout=5
        )
        before = set(threading.enumerate())
        assert direct.wake(["1"], 0.05) is False
        [sender] = set(threading.enumerate()) - before
        direct.close()
        sender.join(60)
    assert not sender.is_alive()
    assert [str(warning.message) for warning in recwarn] == []


def test_it_loads_no_kombu() -> None:
    script = "import sys, prebuild_tasks.messaging.direct as d; d.DirectMessages('redis://', str); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded & {"kombu", "celery", "structlog", "sqlalchemy", "pydantic"} == set()
