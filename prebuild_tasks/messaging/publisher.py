"""Send task messages with kombu alone, so that a claim does not import Celery.

A lost message costs time, never correctness, because the tick and the sweep read the database. So this module logs a
failure to send and raises nothing.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import structlog
from kombu import Connection, pools
from kombu.exceptions import KombuError
from kombu.transport import redis as _transport  # noqa: F401 - otherwise kombu imports it within the first message's deadline
from redis.exceptions import RedisError, ResponseError

from prebuild_tasks.config import Settings
from prebuild_tasks.messaging.port import NOTHING_SHOWN
from prebuild_tasks.messaging.queues import QUEUES

log = structlog.get_logger(__name__)

RECONCILE_PRESET = "prebuild_tasks.reconcile_preset"
RECONCILE_ALL = "prebuild_tasks.reconcile_all"
RUN_BUILD = "prebuild_tasks.run_build"
PROBE_PREBUILDS = "prebuild_tasks.probe_prebuilds"
PROBE_PREBUILDS_ON_HOST = "prebuild_tasks.probe_prebuilds_on_host"
SWEEP = "prebuild_tasks.sweep"
SWEEP_RESOURCES_ON_HOST = "prebuild_tasks.sweep_resources_on_host"

EVENTS, RECONCILE, BUILDS, CLAIMS, DEFAULT = QUEUES

Message = tuple[str, str, list[str], dict[str, Any], str]
"""Queue, task, arguments, keyword arguments, and the text shown instead of the arguments (empty: the arguments)."""

_NOT_SENT = (KombuError, RedisError, OSError)
_BATCH = 500
CLIENT_DEADLINE = 0.2
"""Seconds that a claim's wake-up may take after the answer; an unreachable Redis can take 20 seconds and more."""


class Messages:
    """The `Publisher` of workers, clients and commands."""

    def __init__(self, settings: Settings, *, timeout: float = 2.0) -> None:
        self._settings = settings
        self._connection = Connection(
            settings.celery_broker_url,
            transport_options={"socket_connect_timeout": timeout, "socket_timeout": timeout},
        )

    def reconcile(self, preset_ids: Sequence[str], *, tick: int = 0, shown: Mapping[str, str] = NOTHING_SHOWN) -> int:
        return self._sent(self._turns(preset_ids, shown, tick))

    def builds(self, build_ids: Mapping[str, Sequence[str]], *, shown: Mapping[str, str] = NOTHING_SHOWN) -> int:
        return self._sent(
            (self._settings.queue(BUILDS, host), RUN_BUILD, [build_id], {}, shown.get(build_id, ""))
            for host, ids in build_ids.items()
            for build_id in ids
        )

    def tick(self) -> bool:
        """Ask for a tick now, whatever the interval. Return whether the message was sent."""
        return self._sent([(self._settings.queue(DEFAULT), RECONCILE_ALL, [], {"force": True}, "")]) == 1

    def to_hosts(self, task: str, requests: Mapping[str, Mapping[str, object]]) -> int:
        """Send a task to builds workers, with arguments by host; `""` is any host. Return the number sent."""
        return self._sent(
            (self._settings.queue(BUILDS, host), task, [], dict(arguments), "") for host, arguments in requests.items()
        )

    def wake(
        self, preset_ids: Sequence[str], deadline: float = CLIENT_DEADLINE, *, shown: Mapping[str, str] = NOTHING_SHOWN
    ) -> bool:
        """Ask for turns of presets within `deadline` seconds, or give up. Return whether the messages were sent."""
        sent: list[int] = []
        errors = [f"not within {deadline:g} s"]

        def send() -> None:
            # Logs nothing itself: after the deadline nobody waits for it, and the command may have ended.
            try:
                sent.append(self._send(self._turns(preset_ids, shown)))
            except _NOT_SENT as error:
                errors.append(str(error))

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        sender.join(deadline)
        if not sent:
            log.warning("wake_up_not_sent", presets=len(preset_ids), error=errors[-1])
        return bool(sent)

    def waiting(self, queue: str) -> int | None:
        """Count the messages in a queue, given by its full name. Return None when Redis does not answer."""
        try:
            with self._connection.clone() as connection, connection.channel() as channel:
                return int(channel.client.llen(queue))  # type: ignore[attr-defined]  # the Redis transport has it
        except _NOT_SENT as error:
            log.warning("queue_unknown", queue=queue, error=str(error))
            return None

    def close(self) -> None:
        """Close the pooled connections of this process."""
        pools.reset()

    def _turns(self, preset_ids: Sequence[str], shown: Mapping[str, str], tick: int = 0) -> Iterator[Message]:
        queue = self._settings.queue(RECONCILE if tick else EVENTS)
        kwargs = {"tick": tick} if tick else {}
        return ((queue, RECONCILE_PRESET, [each], kwargs, shown.get(each, "")) for each in preset_ids)

    def _sent(self, messages: Iterable[Message]) -> int:
        try:
            return self._send(messages)
        except _NOT_SENT as error:
            log.warning("not_published", error=str(error))
            return 0

    def _send(self, messages: Iterable[Message]) -> int:
        try:
            return self._publish(messages)
        except ResponseError:
            # As when the server has become a replica. A new connection may lead to the new primary.
            pools.producers[self._connection].force_close_all()
            pools.connections[self._connection].force_close_all()
            raise

    def _publish(self, messages: Iterable[Message]) -> int:
        sent = 0
        with pools.producers[self._connection].acquire(block=True, timeout=5) as producer, producer.batch(_BATCH):
            for queue, task, args, kwargs, shown in messages:
                producer.publish(
                    [args, kwargs, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}],
                    exchange="",
                    routing_key=queue,
                    serializer="json",
                    retry=False,
                    **_properties(task, args, kwargs, shown),
                )
                sent += 1
        return sent


def _properties(task: str, args: Sequence[str], kwargs: Mapping[str, object], shown: str) -> dict[str, object]:
    """Build the headers of Celery's message protocol, version 2.

    Events and Flower show `argsrepr` and `kwargsrepr`, never the arguments.
    """
    task_id = str(uuid.uuid4())
    return {
        "correlation_id": task_id,
        "headers": {
            "lang": "py",
            "task": task,
            "id": task_id,
            "root_id": task_id,
            "parent_id": None,
            "group": None,
            "argsrepr": repr((shown,) if shown else tuple(args)),
            "kwargsrepr": repr(dict(kwargs)),
            "origin": "prebuild_tasks",
        },
    }
