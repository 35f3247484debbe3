"""Send the few messages of a claim with redis-py alone: importing kombu takes longer than the claim.

The bytes are those that kombu's Redis transport writes, which `tests/messaging/test_direct.py` compares.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable

from redis.exceptions import RedisError, ResponseError

from prebuild_tasks.messaging.redis import connect
from prebuild_tasks.messaging.sender import CLIENT_DEADLINE, TaskMessage, TaskSender, new_task_id

_PERSISTENT = 2
"""The delivery mode of AMQP that kombu writes by default."""


class DirectMessages(TaskSender):
    """The `Publisher` of a process that claims."""

    not_sent = (RedisError, OSError)

    def __init__(self, redis_url: str, queue: Callable[..., str], *, timeout: float = CLIENT_DEADLINE) -> None:
        """Connect on first use.

        Args:
            redis_url: The URL in redis-py's form.
            queue: Makes the full name of a queue from its short one, and a host.
            timeout: Seconds to wait for a connection, and for each answer.
        """
        super().__init__(queue)
        self._logged = False
        self._client = connect(redis_url, connect_timeout=timeout, timeout=timeout)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _log_not_sent(self, event: str, error: str, **details: int) -> None:
        """Log it once: a portal without Redis would log it at each claim, and need not do anything about it."""
        if not self._logged:
            self._logged = True
            super()._log_not_sent(event, error, **details)

    def _send(self, messages: Iterable[TaskMessage]) -> int:
        sent = 0
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for message in messages:
                    pipeline.lpush(message.queue, payload_of(message))
                    sent += 1
                pipeline.execute()
        except ResponseError:
            # As when the server has become a replica. A new connection may lead to the new primary.
            self._client.connection_pool.disconnect()
            raise
        return sent


def payload_of(message: TaskMessage) -> str:
    """Return a message as kombu writes it into a list of Redis."""
    task_id = new_task_id()
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(message.body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": message.headers(task_id),
            "properties": {
                "correlation_id": task_id,
                "delivery_mode": _PERSISTENT,
                "delivery_info": {"exchange": "", "routing_key": message.queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": new_task_id(),
            },
        }
    )
