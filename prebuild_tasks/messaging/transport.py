"""Changes to kombu's Redis transport: unreadable messages, lost connections, namespaces, passwords, canceled timers.

An unreadable message is dropped. Kombu 5.7 raises the error out of the event loop, which ends the worker. The message
has left Redis by then, so each one would cost a restart, and a queue full of them would stop the service.

Closing a channel whose connection is gone does not fail. Kombu then wants to put the messages in hand back, without a
connection. They stay in Redis, and a worker delivers them again after the visibility timeout.

The password of a Redis on a unix socket is kept out of the broker URL, which workers show to others.

Canceled timers are removed. Each task's time limit is a timer, and kombu keeps a canceled timer until it would have
expired. In a worker that had run 100,000 turns, they took 11 MiB [measured].
"""

from __future__ import annotations

import heapq
from json import JSONDecodeError
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from kombu.asynchronous import get_event_loop
from kombu.transport import redis, virtual
from redis.credentials import CredentialProvider

from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.messaging.redis import TcpConnection, TlsConnection

log = structlog.get_logger(__name__)


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

    def restore_unacked_once(self, stderr: object = None) -> None:
        """Put messages back into their queues when the channel is closed, if Redis can still be reached."""
        try:
            super().restore_unacked_once(stderr)
        except Exception as error:  # noqa: BLE001 - the connection is given up in any case
            log.warning("messages_left_unacknowledged", error=f"{type(error).__name__}: {error}")


class Channel(redis.Channel):
    """A channel that drops payloads that are not messages, and leaves a server that has become a replica."""

    Message = Message
    QoS = QoS
    connection_class = TcpConnection
    connection_class_ssl = TlsConnection

    def _brpop_read(self, **options: object) -> object:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # kombu's stubs leave it out
        except (JSONDecodeError, UnicodeDecodeError, RecursionError, UnreadableMessageError) as error:
            log.error("unreadable_message_dropped", error=str(error)[:200])
            return True


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
