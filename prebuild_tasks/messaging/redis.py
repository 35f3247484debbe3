"""Connections to Redis, and the errors for one that does not answer."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.retry import Retry

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.model.addresses import masked_url
from prebuild_tasks.remedies import Remedy, RemedyKind


def connect(
    url: str, *, connect_timeout: float = 1.0, timeout: float = 2.0, health_check_interval: float = 10.0
) -> redis.Redis:
    """Create a client for TCP or a unix socket, with timeouts in seconds for every call. It connects on first use.

    Seconds without use after which, as before the first use, a connection is pinged first; 0: never. A Redis that
    cannot save refuses pings as it refuses writes.
    """
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=connect_timeout,
        socket_timeout=timeout,
        health_check_interval=health_check_interval,
        # No retries: if only the answer was lost, a retry would find our own lock and take it for another process's.
        retry=Retry(NoBackoff(), 0),
    )


def require_redis(settings: Settings) -> None:
    """Raise UnreachableError, which names the address, unless Redis answers."""
    client = connect(settings.resolved_redis_url)
    try:
        client.ping()
    except (RedisError, OSError) as error:
        raise refused(settings, error) from None
    finally:
        client.close()


def refused(settings: Settings, error: Exception) -> UnreachableError:
    """Convert an error of Redis or of the connection to an UnreachableError with the next step."""
    where = masked_url(settings.resolved_redis_url)
    if isinstance(error, (AuthenticationError, NoPermissionError)):
        hint = "correct the user and password in PREBUILD_REDIS_URL"
        return UnreachableError(f"Redis at {where} refused the credentials: {error}", hint=hint)
    if str(error).startswith("MISCONF"):
        hint = "free some space on its disk, and read its log; it takes messages again once it can save"
        return UnreachableError(f"Redis at {where} runs, but refuses writes: {error}", hint=hint)
    return UnreachableError(f"Redis at {where} did not answer: {error}", remedy=Remedy(RemedyKind.START_REDIS))
