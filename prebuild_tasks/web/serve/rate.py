"""Limits of requests: of each token, reads apart from changes, and of bad tokens from each address."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from prebuild_tasks.access import Principal
from prebuild_tasks.clock import monotonic
from prebuild_tasks.logs import get_logger
from prebuild_tasks.web.api.problems import ProblemDetails, ProblemError

log = get_logger(__name__)

PATIENCE = 0.02
"""Seconds that Redis is asked for; then this process counts by itself."""
_REST = 2.0
"""Seconds for which a Redis that did not answer is not asked."""
BAD_TOKENS, _BAD_WINDOW = 30, 60
"""Bad tokens of an address within so many seconds, after which it has to wait."""
_ADDRESSES_MAX = 10_000
"""Addresses that are remembered as waiting."""
_SHARE, _SHARE_MAX, _SHARE_KEPT = 200, 100, 1.0
"""A process takes this part of a limit at a time, up to so many requests, and uses them within so many seconds."""


def limit_of(rate: float, burst: int) -> RateLimitItem:
    """Return the limit of `burst` requests within the time in which `rate` a second are as many."""
    seconds = max(1, round(burst / rate))
    return RateLimitItemPerSecond(max(burst, math.ceil(rate * seconds)) if seconds == 1 else burst, seconds)


def network_of(address: str) -> str:
    """Return what an address is counted as: an IPv6 address as its /64, all of which one machine may have."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((parsed, 64), strict=False))
    return str(parsed)


def share_of(item: RateLimitItem) -> int:
    """Return how many requests of a token a process takes at a time: one, unless the limit is high.

    They are counted before they are made, so processes together never allow more than the limit.
    """
    return max(1, min(item.amount // _SHARE, _SHARE_MAX))


@dataclass(slots=True)
class _Share:
    """Requests of a token that are counted already."""

    left: int = 0
    until: float = 0.0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the request that takes the next ones for all that wait."""

    def take(self) -> bool:
        """Use one of them; return whether there was one."""
        if self.left <= 0 or monotonic() >= self.until:
            return False
        self.left -= 1
        return True


class RateLimits:
    """The limits of a serving process, which its others share through Redis while that answers."""

    def __init__(self, rate: float, burst: int, redis_url: str, namespace: str) -> None:
        """Take the limit of a token, and the Redis with the prefix of its keys."""
        self._item = limit_of(rate, burst)
        self._bad = RateLimitItemPerSecond(BAD_TOKENS, _BAD_WINDOW)
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        pool = ConnectionPool.from_url(redis_url, socket_connect_timeout=PATIENCE, socket_timeout=PATIENCE)
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=f"{namespace}:rate",
            connection_pool=pool,  # type: ignore[arg-type]  # documented, but not in the type of the options
        )
        self._shared, self._pool = SlidingWindowCounterRateLimiter(storage), pool
        self._asked_from = 0.0
        """The time from which Redis is asked again."""
        self._shares: dict[tuple[str, str], _Share] = {}
        """What this process may still use, by token and kind of request."""
        self._waiting: dict[str, float] = {}
        """The times until which addresses with bad tokens have to wait."""

    async def count(self, principal: Principal, *, claims: bool) -> None:
        """Count a request of a principal. Raises ProblemError for one too many."""
        kind = "changes" if claims else "reads"
        if not await self._use(self._item, principal.key, kind):
            raise await self._refused(
                self._item, f"the token {principal.name} makes too many requests", principal.key, kind
            )

    async def count_bad(self, address: str) -> None:
        """Count a bad token of an address."""
        network = network_of(address)
        if not await self._hit(self._bad, "address", network):
            if len(self._waiting) >= _ADDRESSES_MAX:
                self._waiting.clear()
            self._waiting[network] = monotonic() + _BAD_WINDOW
            log.warning("bad_tokens", network=network)

    def require_patience(self, address: str) -> None:
        """Raise ProblemError for an address that has sent too many bad tokens."""
        if not self._waiting:
            return
        network = network_of(address)
        left = self._waiting.get(network, 0.0) - monotonic()
        if left > 0:
            raise _problem(self._bad, "this address has sent too many bad tokens", left)
        self._waiting.pop(network, None)

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._pool.disconnect()

    async def _use(self, item: RateLimitItem, token: str, kind: str) -> bool:
        """Count a request, several at a time if the limit is high; return whether it is within the limit."""
        size = share_of(item)
        if size == 1:
            return await self._hit(item, token, kind)
        share = self._shares.setdefault((token, kind), _Share())
        if share.take():
            return True
        async with share.asking:
            if share.take():
                return True
            if await self._hit(item, token, kind, cost=size):
                share.left, share.until = size - 1, monotonic() + _SHARE_KEPT
                return True
        return await self._hit(item, token, kind)

    async def _hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Count, and return whether that is within the limit."""
        if monotonic() >= self._asked_from:
            try:
                async with asyncio.timeout(PATIENCE):
                    return await self._shared.hit(item, *identifiers, cost=cost)
            except (TimeoutError, RedisError, OSError):
                self._asked_from = monotonic() + _REST
        return await self._own.hit(item, *identifiers, cost=cost)

    async def _refused(self, item: RateLimitItem, sentence: str, *identifiers: str) -> ProblemError:
        stats = None
        if monotonic() >= self._asked_from:
            try:
                async with asyncio.timeout(PATIENCE):
                    stats = await self._shared.get_window_stats(item, *identifiers)
            except (TimeoutError, RedisError, OSError):
                self._asked_from = monotonic() + _REST
        if stats is None:
            stats = await self._own.get_window_stats(item, *identifiers)
        left = stats.reset_time - time.time()  # noqa: TID251 - the library's clock
        return _problem(item, sentence, left)


def _problem(item: RateLimitItem, sentence: str, left: float) -> ProblemError:
    seconds = str(max(1, math.ceil(left)))
    headers = {
        "Retry-After": seconds,
        "RateLimit-Limit": str(item.amount),
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": seconds,
    }
    return ProblemError(
        ProblemDetails(
            status=429, code="rate_limited", detail=sentence, hint="wait, and make fewer requests", headers=headers
        )
    )
