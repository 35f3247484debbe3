"""Kombu's Redis channel, but for one thing: a message that nobody can read is dropped, not the worker that took it.

Kombu raises what is wrong with it out of the event loop, which ends the worker (kombu 5.7). The message is gone from
Redis by then, so each one would cost a worker's restart, and a queue full of them a service.
"""

from __future__ import annotations

from json import JSONDecodeError
from typing import Any

import structlog
from kombu.transport import redis, virtual

log = structlog.get_logger(__name__)


class UnreadableMessageError(ValueError):
    """It is JSON, but no message."""


class Message(virtual.Message):
    """A message that has all that an acknowledgement needs. Raises UnreadableMessageError for anything else."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        try:
            super().__init__(payload, channel=channel, **options)
            hash(self.delivery_tag)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnreadableMessageError(f"{type(error).__name__}: {error}") from error


class Channel(redis.Channel):
    """Drops, and logs, what is not a message."""

    Message = Message

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # kombu's stubs leave it out
        except (JSONDecodeError, UnicodeDecodeError, RecursionError, UnreadableMessageError) as error:
            log.error("unreadable_message_dropped", error=str(error)[:200])
            return True


def tolerate_unreadable_messages() -> None:
    """Let every Redis connection of this process use that channel."""
    redis.Transport.Channel = Channel
