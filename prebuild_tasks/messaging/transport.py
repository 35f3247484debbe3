"""Kombu's Redis, but for three things. A message that nobody can read is dropped, not the worker that took it.

Kombu raises what is wrong with it out of the event loop, which ends the worker (kombu 5.7). The message is gone from
Redis by then, so each one would cost a worker's restart, and a queue full of them a service.

And timers that were canceled are let go: each task's time limit is one, and kombu keeps it until its time would have
come, which made up 11 MiB of a worker that had done 100,000 turns [measured].
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

log = structlog.get_logger(__name__)


class UnreadableMessageError(ValueError):
    """It is JSON, but no message."""


class Message(virtual.Message):
    """A message that has all that an acknowledgement needs. Raises UnreadableMessageError for anything else."""

    def __init__(self, payload: dict[str, object], channel: Channel | None = None, **options: object) -> None:
        try:
            super().__init__(payload, channel=channel, **options)
            hash(self.delivery_tag)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnreadableMessageError(f"{type(error).__name__}: {error}") from error


class Channel(redis.Channel):
    """Drops, and logs, what is not a message."""

    Message = Message

    def _brpop_read(self, **options: object) -> object:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # kombu's stubs leave it out
        except (JSONDecodeError, UnicodeDecodeError, RecursionError, UnreadableMessageError) as error:
            log.error("unreadable_message_dropped", error=str(error)[:200])
            return True


def tolerate_unreadable_messages() -> None:
    """Let every Redis connection of this process use that channel."""
    redis.Transport.Channel = Channel


class RedisPassword(CredentialProvider):
    """Credentials of a Redis on a unix socket, read when a connection is made."""

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """The password, after the user if there is one."""
        parts = urlsplit(load_settings().celery_broker_url)
        password = unquote(parts.password or "")
        return (unquote(parts.username), password) if parts.username else (password,)


def broker_url(settings: Settings) -> str:
    """Where Celery's broker is, without the password of a unix socket.

    kombu keeps such a URL whole, and workers tell it to whoever asks for their stats, as Flower does.
    """
    scheme, _, rest = settings.celery_broker_url.partition("://")
    credentials, at, path = rest.rpartition("@")
    if scheme != "redis+socket" or not at or ":" not in credentials:
        return settings.celery_broker_url
    return f"{scheme}://{path}{'&' if '?' in path else '?'}credential_provider={__name__}.{RedisPassword.__name__}"


_FORGET_EVERY = 5.0


def forget_time_limits_that_were_met() -> None:
    """From now on, in the worker's own process."""
    if hub := get_event_loop():
        hub.call_repeatedly(_FORGET_EVERY, _forget_canceled, hub.timer)


def _forget_canceled(timer: Any) -> None:
    queue = timer._queue  # noqa: SLF001 - kombu offers no other way
    queue[:] = [item for item in queue if not item.entry.canceled]
    heapq.heapify(queue)
