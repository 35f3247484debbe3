"""Connections to Redis, and the errors for one that does not answer."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.model.addresses import masked_url
from prebuild_tasks.remedies import Remedy, RemedyKind

if TYPE_CHECKING:  # a claim imports this module and must be quick
    from prebuild_tasks.config import Settings

_CLUSTER = (MovedError, ClusterCrossSlotError, ClusterDownError)
_CLUSTER_HINT = "point PREBUILD_REDIS_URL at a Redis without cluster mode"


def is_of_replica(error: ResponseError) -> bool:
    """Return whether a server refused a command because it is a replica. A script's error repeats it in its text."""
    return isinstance(error, (ReadOnlyError, MasterDownError)) or "READONLY " in str(error)


class _LeavesReplica:
    """A connection that is closed after its use once the server refuses writes, because it has become a replica.

    A failover does not close connections, and a new one may lead to the new primary.
    """

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read an answer, as redis-py does."""
        try:
            return super().read_response(*args, **options)  # type: ignore[misc]  # of redis-py's class
        except ResponseError as error:
            if is_of_replica(error):
                self.mark_for_reconnect()  # type: ignore[attr-defined]  # of redis-py's class
            raise


class TcpConnection(_LeavesReplica, redis.Connection):
    """A connection over TCP."""


class TlsConnection(_LeavesReplica, redis.SSLConnection):
    """A connection over TLS."""


def connect(
    url: str, *, connect_timeout: float = 1.0, timeout: float = 2.0, health_check_interval: float = 10.0
) -> redis.Redis:
    """Create a client for TCP or a unix socket, with timeouts in seconds for every call. It connects on first use.

    Seconds without use after which, as before the first use, a connection is pinged first; 0: never. A Redis that
    cannot save refuses pings as it refuses writes.
    """
    classes = {"redis": TcpConnection, "rediss": TlsConnection}
    scheme = url.partition("://")[0]
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=connect_timeout,
        socket_timeout=timeout,
        health_check_interval=health_check_interval,
        # No retries: if only the answer was lost, a retry would find our own lock and take it for another process's.
        retry=Retry(NoBackoff(), 0),
        **({"connection_class": classes[scheme]} if scheme in classes else {}),
    )


def require_redis(settings: Settings) -> None:
    """Raise UnreachableError, which names the address, unless Redis answers and is one that can be used."""
    client = connect(settings.resolved_redis_url)
    try:
        client.ping()
        require_no_cluster(settings, client)
    except (RedisError, OSError) as error:
        raise refused(settings, error) from None
    finally:
        client.close()


def require_no_cluster(settings: Settings, client: redis.Redis) -> None:
    """Raise UnreachableError if Redis runs in cluster mode. One that does not let this user ask is taken as it is."""
    try:
        clustered = bool(client.info("cluster").get("cluster_enabled"))
    except NoPermissionError:
        return
    if clustered:
        raise in_cluster_mode(settings)


def keys_needed(settings: Settings) -> tuple[str, ...]:
    """Return keys of the patterns that workers, beat and claims need: Redis refuses to look at one that is not allowed.

    docs/security.md lists all patterns.
    """
    queue = settings.queue("events")
    return queue, f"{settings.namespace}:lock", f"_kombu.binding.{queue}", f"_kombu.binding_permanent.{queue}"


def access_refused(settings: Settings) -> UnreachableError | None:
    """Return why this user must not use this Redis, or why it cannot be used; None also if it does not answer."""
    client = connect(settings.resolved_redis_url)
    try:
        client.ping()
        require_no_cluster(settings, client)
        client.exists(*keys_needed(settings))
    except UnreachableError as error:
        return error
    except (RedisError, OSError) as error:
        return refused(settings, error) if _is_refusal(error) else None
    finally:
        client.close()
    return None


def refused(settings: Settings, error: Exception) -> UnreachableError:
    """Convert an error of Redis or of the connection to an UnreachableError with the next step."""
    where = masked_url(settings.resolved_redis_url)
    if isinstance(error, _CLUSTER):
        return in_cluster_mode(settings)
    if isinstance(error, (AuthenticationError, NoPermissionError)):
        hint = "correct the user and password in PREBUILD_REDIS_URL"
        if isinstance(error, NoPermissionError):
            hint = "give the user the rights that docs/security.md lists, or correct the user in PREBUILD_REDIS_URL"
        return UnreachableError(f"Redis at {where} refused the credentials: {error}", hint=hint)
    if str(error).startswith("MISCONF"):
        hint = "free some space on its disk, and read its log; it takes messages again once it can save"
        return UnreachableError(f"Redis at {where} runs, but refuses writes: {error}", hint=hint)
    if _is_untrusted(error):
        hint = "name the authority's file in PREBUILD_REDIS_URL, as in rediss://…?ssl_ca_certs=/etc/ssl/ca.pem"
        return UnreachableError(f"Redis at {where} has a certificate that is not trusted: {error}", hint=hint)
    return UnreachableError(f"Redis at {where} did not answer: {error}", remedy=Remedy(RemedyKind.START_REDIS))


def in_cluster_mode(settings: Settings) -> UnreachableError:
    """Return the error for a Redis in cluster mode, in which a claim's or a turn's keys lie on several servers."""
    where = masked_url(settings.resolved_redis_url)
    return UnreachableError(f"Redis at {where} runs in cluster mode, which is not supported", hint=_CLUSTER_HINT)


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, (AuthenticationError, NoPermissionError, *_CLUSTER)) or _is_untrusted(error)


def _is_untrusted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
