"""Send task messages with kombu alone, so that a command that sends some does not import Celery."""

from __future__ import annotations

from collections.abc import Iterable

from kombu import Connection, pools
from kombu.exceptions import KombuError
from kombu.transport import redis as _transport  # noqa: F401 - otherwise kombu imports it within the first message's deadline
from redis.exceptions import RedisError, ResponseError

from prebuild_tasks.config import Settings
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging.sender import TaskMessage, TaskSender, new_task_id

log = get_logger(__name__)

_BATCH = 500


class Messages(TaskSender):
    """The `Publisher` of workers and of commands that send more than a claim does."""

    not_sent = (KombuError, RedisError, OSError)

    def __init__(self, settings: Settings, *, timeout: float = 2.0) -> None:
        super().__init__(settings.queue)
        self._connection = Connection(
            settings.celery_broker_url,
            transport_options={"socket_connect_timeout": timeout, "socket_timeout": timeout},
        )

    def waiting(self, queue: str) -> int | None:
        """Count the messages in a queue, given by its full name. Return None when Redis does not answer."""
        try:
            with self._connection.clone() as connection, connection.channel() as channel:
                return int(channel.client.llen(queue))  # type: ignore[attr-defined]  # the Redis transport has it
        except self.not_sent as error:
            log.warning("queue_unknown", queue=queue, error=str(error))
            return None

    def close(self) -> None:
        """Close the pooled connections of this process."""
        pools.reset()

    def _send(self, messages: Iterable[TaskMessage]) -> int:
        try:
            return self._publish(messages)
        except ResponseError:
            # As when the server has become a replica. A new connection may lead to the new primary.
            pools.producers[self._connection].force_close_all()
            pools.connections[self._connection].force_close_all()
            raise

    def _publish(self, messages: Iterable[TaskMessage]) -> int:
        sent = 0
        with pools.producers[self._connection].acquire(block=True, timeout=5) as producer, producer.batch(_BATCH):
            for message in messages:
                task_id = new_task_id()
                producer.publish(
                    message.body,
                    exchange="",
                    routing_key=message.queue,
                    serializer="json",
                    retry=False,
                    correlation_id=task_id,
                    headers=message.headers(task_id),
                )
                sent += 1
        return sent
