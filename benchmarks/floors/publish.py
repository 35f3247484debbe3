"""Send task messages through Celery and kombu alone: in one pipelined batch, or one `apply_async` after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Celery
from kombu import Exchange, Queue
from kombu.utils.uuid import uuid

BATCH = 500
TASK = "floor.task"


def make_app(url: str, queue: str) -> Celery:
    """Make an app with one queue and one task that does nothing."""
    app = Celery("floor", broker=url)
    app.conf.update(
        task_ignore_result=True,
        task_queues=[Queue(queue, Exchange(queue, type="direct"), routing_key=queue)],
        task_default_queue=queue,
        broker_transport_options={"priority_steps": [0], "socket_timeout": 5, "socket_connect_timeout": 5},
    )
    app.task(name=TASK)(_nothing)
    return app


def batch(app: Celery, queue: str, task: str, calls: Sequence[tuple[list[Any], dict[str, Any]]]) -> None:
    """Use kombu's `Producer.batch` with Celery's own `as_task_v2`, straight into the queue's list."""
    with app.producer_pool.acquire(block=True) as producer, producer.batch(BATCH):
        for args, kwargs in calls:
            # As in `apply_async` for a task that keeps no result; without it, a worker would store one.
            message = app.amqp.as_task_v2(uuid(), task, args, kwargs, ignore_result=True)
            producer.publish(
                message.body,
                exchange="",
                routing_key=queue,
                serializer="json",
                headers=message.headers,
                **message.properties,
            )


def loop(app: Celery, calls: Sequence[tuple[list[Any], dict[str, Any]]]) -> None:
    """Call plain `apply_async` for each message."""
    task = app.tasks[TASK]
    for args, kwargs in calls:
        task.apply_async(args, kwargs)


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing; never called, because there is no worker."""
