"""Changes to kombu's Redis transport: unreadable messages, lost connections, namespaces, passwords, canceled timers.

An unreadable message is dropped. Kombu 5.7 raises the error out of the event loop, which ends the worker. The message
has left Redis by then, so each one would cost a restart, and a queue full of them would stop the service.

Closing a channel whose connection is gone does not fail. Kombu then wants to put the messages in hand back, without a
connection. They stay in Redis, and a worker delivers them again after the visibility timeout. So does a message whose
task ends after its connection was lost: to acknowledge it would fail, and end the connection that the worker has by
then.

The keys of unacknowledged messages carry the namespace. Release 0.1 kept them under names that every application in
the database shared, so for one release workers also deliver this installation's messages from there again.

The password of a Redis on a unix socket is kept out of the broker URL, which workers show to others.

Canceled timers are removed. Each task's time limit is a timer, and kombu keeps a canceled timer until it would have
expired. In a worker that had run 100,000 turns, they took 11 MiB [measured].
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Sequence
from functools import partial
from json import JSONDecodeError
from typing import Any
from urllib.parse import unquote, urlsplit

from kombu.asynchronous import get_event_loop
from kombu.transport import redis, virtual
from redis.credentials import CredentialProvider
from redis.exceptions import NoPermissionError, RedisError

from prebuild_tasks.clock import monotonic, utcnow
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging.redis import TcpConnection, TlsConnection

log = get_logger(__name__)

FORMER_UNACKED, FORMER_INDEX = "unacked", "unacked_index"
"""Keys under which release 0.1 kept unacknowledged messages."""
_FORMER_EVERY = 10.0
"""Seconds between two looks at them."""
_FORMER_BATCH = 1000
"""Number of messages looked at each time."""


class UnreadableMessageError(ValueError):
    """The payload is JSON, but not a message."""


class Message(virtual.Message):
    """A message that can be acknowledged. Raises UnreadableMessageError if the payload is not one."""

    def __init__(self, payload: dict[str, object], channel: Channel | None = None, **options: object) -> None:
        try:
            super().__init__(payload, channel=channel, **options)
            hash(self.delivery_tag)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnreadableMessageError(f"{type(error).__name__}: {error}") from error


class QoS(redis.QoS):
    """The messages that were taken and not yet acknowledged."""

    channel: Channel
    _next_look = 0.0

    def restore_unacked_once(self, stderr: object = None) -> None:
        """Put messages back into their queues when the channel is closed, if Redis can still be reached."""
        try:
            super().restore_unacked_once(stderr)
        except Exception as error:  # noqa: BLE001 - the connection is given up in any case
            log.warning("messages_left_unacknowledged", error=f"{type(error).__name__}: {error}")

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message, unless its connection is gone."""
        if not self._is_lost(delivery_tag):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject a message, unless its connection is gone."""
        if not self._is_lost(delivery_tag):
            super().reject(delivery_tag, requeue=requeue)

    def _is_lost(self, delivery_tag: str) -> bool:
        connection = self.channel.connection
        lost = connection is None or connection.client is None
        if lost:
            log.warning("message_left_unacknowledged", tag=delivery_tag)
        return lost

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Deliver messages again that were not acknowledged in time, and from time to time those of release 0.1."""
        super().restore_visible(*args, **options)
        if self.channel.former_queues and monotonic() >= self._next_look:
            self._next_look = monotonic() + _FORMER_EVERY
            try:
                restore_former(self.channel, utcnow().timestamp() - self.visibility_timeout)
            except NoPermissionError:  # this user never could use release 0.1
                self._next_look = math.inf
            except RedisError as error:
                log.warning("former_messages_not_restored", error=str(error))


class Channel(redis.Channel):
    """A channel that drops payloads that are not messages, and leaves a server that has become a replica."""

    Message = Message
    QoS = QoS
    connection_class = TcpConnection
    connection_class_ssl = TlsConnection
    former_queues: tuple[str, ...] = ()
    """Prefixes of the queues of this installation, whose messages may lie under the keys of release 0.1."""
    from_transport_options = (*redis.Channel.from_transport_options, "keyprefix_binding_deadlines", "former_queues")

    def _brpop_read(self, **options: object) -> object:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # kombu's stubs leave it out
        except (JSONDecodeError, UnicodeDecodeError, RecursionError, UnreadableMessageError) as error:
            log.error("unreadable_message_dropped", error=str(error)[:200])
            return True


def restore_former(channel: Channel, before: float) -> int:
    """Deliver messages of this installation again that release 0.1 took before a time and never acknowledged.

    Messages of other installations and applications stay. Return the number of messages that went back.
    """
    restored = 0
    with channel.conn_or_acquire() as client:
        for tag in client.zrange(FORMER_INDEX, 0, before, byscore=True, offset=0, num=_FORMER_BATCH):
            held = client.hget(FORMER_UNACKED, tag)
            if held and _is_ours(held, channel.former_queues):
                restored += client.transaction(
                    partial(_put_back, channel, tag), FORMER_UNACKED, value_from_callable=True
                )
    return restored


def _put_back(channel: Channel, tag: bytes, pipe: Any) -> int:
    held = pipe.hget(FORMER_UNACKED, tag)
    pipe.multi()
    pipe.zrem(FORMER_INDEX, tag)
    pipe.hdel(FORMER_UNACKED, tag)
    if held is None:  # another worker was faster
        return 0
    channel._do_restore_message(  # type: ignore[attr-defined]  # noqa: SLF001 - as kombu's own QoS does
        *json.loads(held), pipe
    )
    return 1


def _is_ours(held: bytes, queues: Sequence[str]) -> bool:
    try:
        _, _, routing_key = json.loads(held)
    except (ValueError, TypeError):
        return False
    return any(routing_key == queue or str(routing_key).startswith(f"{queue}.") for queue in queues)


def tolerate_unreadable_messages() -> None:
    """Make every Redis connection of this process drop unreadable messages."""
    redis.Transport.Channel = Channel


class RedisPassword(CredentialProvider):
    """Credentials of a Redis on a unix socket, read when a connection is made."""

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the password, preceded by the user if there is one."""
        parts = urlsplit(load_settings().celery_broker_url)
        password = unquote(parts.password or "")
        return (unquote(parts.username), password) if parts.username else (password,)


def broker_url(settings: Settings) -> str:
    """Return the URL of Celery's broker, without the password if it names a unix socket.

    kombu does not mask such a URL, and workers report it to anyone who asks for their stats, as Flower does.
    """
    scheme, _, rest = settings.celery_broker_url.partition("://")
    credentials, at, path = rest.rpartition("@")
    if scheme != "redis+socket" or not at or ":" not in credentials:
        return settings.celery_broker_url
    return f"{scheme}://{path}{'&' if '?' in path else '?'}credential_provider={__name__}.{RedisPassword.__name__}"


_FORGET_EVERY = 5.0
"""Seconds between two removals of canceled timers."""


def remove_canceled_timers_regularly() -> None:
    """Remove canceled timers from the event loop of this process every `_FORGET_EVERY` seconds."""
    if hub := get_event_loop():
        hub.call_repeatedly(_FORGET_EVERY, _forget_canceled, hub.timer)


def _forget_canceled(timer: Any) -> None:
    queue = timer._queue  # noqa: SLF001 - kombu has no public access to it
    queue[:] = [item for item in queue if not item.entry.canceled]
    heapq.heapify(queue)
