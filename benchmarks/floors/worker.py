"""A worker whose task makes only the Redis calls and SQL statements listed in a file.

celery -A benchmarks.floors.worker worker; FLOOR names a JSON file: broker, redis, queue, dsn, the task's time limits
(hard, soft), statements (text, values) and scripts (text, keys, arguments). `{id}` in keys, and the value
`preset_id`, are the task's argument.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import redis
from celery import Celery
from kombu import Exchange, Queue

GIVEN: dict[str, Any] = json.loads(Path(os.environ["FLOOR"]).read_text()) if "FLOOR" in os.environ else {}
_OPTIONS = {
    "visibility_timeout": 300,
    "socket_connect_timeout": 5,
    "socket_timeout": 5,
    "socket_keepalive": True,
    "priority_steps": [0],
}
QUEUE = GIVEN.get("queue", "floor")

app = Celery("floor", broker=GIVEN.get("broker"))
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=GIVEN.get("events", True),
    task_queues=[Queue(QUEUE, Exchange(QUEUE, type="direct"), routing_key=QUEUE)],
    task_default_queue=QUEUE,
    broker_connection_retry_on_startup=True,
    broker_transport_options=_OPTIONS,
)


@cache
def _connected(_process: int) -> tuple[psycopg.Connection[Any], redis.Redis, list[Any]]:
    connection = psycopg.connect(GIVEN["dsn"], autocommit=True)
    client = redis.Redis.from_url(GIVEN["redis"])
    return connection, client, [client.register_script(script) for script, *_ in GIVEN["scripts"]]


@app.task(name="floor.turn", time_limit=GIVEN.get("hard"), soft_time_limit=GIVEN.get("soft"))
def turn(preset: str) -> None:
    """Acquire, read, release."""
    connection, _, scripts = _connected(os.getpid())
    calls = [
        (script, [key.replace("{id}", preset) for key in keys], arguments)
        for script, (_, keys, arguments) in zip(scripts, GIVEN["scripts"], strict=True)
    ]
    for script, keys, arguments in calls[:1]:
        script(keys=keys, args=arguments)
    for statement, values in GIVEN["statements"]:
        connection.execute(statement, {**values, "preset_id": int(preset)}).fetchall()
    for script, keys, arguments in calls[1:]:
        script(keys=keys, args=arguments)


@app.task(name="floor.nothing")
def nothing(*_: Any) -> None:
    """Do nothing, to measure the cost of the worker itself."""


for _name in GIVEN.get("imports", ()):
    with suppress(ImportError):
        import_module(_name)
