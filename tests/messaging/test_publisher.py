"""Messages that are sent with kombu alone, in Celery's form and within their deadline."""

from __future__ import annotations

import time

import pytest

from prebuild_tasks.celery import app
from prebuild_tasks.config import Settings
from prebuild_tasks.messaging.publisher import Messages
from prebuild_tasks.messaging.queues import DEFAULT, EVENTS


@pytest.mark.parametrize(
    ("queue", "task", "arguments", "shown"),
    [(EVENTS, "reconcile_preset", ["7"], "('7',)"), (DEFAULT, "reconcile_all", [], "()")],
    ids=["turn", "tick"],
)
def test_a_message_in_celerys_own_form(
    settings: Settings, redis_url: str, queue: str, task: str, arguments: list[str], shown: str
) -> None:
    """A message sent by kombu alone can be read by Celery."""
    settings = settings.model_copy(update={"redis_url": redis_url})
    messages = Messages(settings)
    assert messages.reconcile(arguments) if arguments else messages.tick()
    with app.connection_for_read(settings.celery_broker_url) as connection:
        message = connection.SimpleQueue(settings.queue(queue)).get(timeout=60)
        message.ack()
    assert message.payload[0] == arguments
    assert message.headers["task"] == f"prebuild_tasks.{task}"
    assert message.headers["argsrepr"] == shown


@pytest.mark.timed
def test_a_wake_up_without_redis_takes_no_longer_than_its_deadline() -> None:
    took = []
    for _ in range(5):
        messages = Messages(Settings(redis_url="redis://127.0.0.1:1/0"), timeout=0.2)
        started = time.monotonic()
        assert messages.wake(["1"], deadline=0.2) is False
        took.append(time.monotonic() - started)
    assert sorted(took)[2] < 0.5  # the median: a busy machine may hold up one
