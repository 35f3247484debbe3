"""The lock of a preset and the key of the tick, in Redis.

The lock only saves work: if it is lost, or Redis is, turns cost more but do nothing wrong. The database's row lock with
the re-read keeps a pool from growing too large. The tick's number serves to drop stale messages; it must not become a
fencing token, because Redis may restart empty.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, cast

import redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.reconcile.rules.model import Lock
from prebuild_tasks.remedies import Remedy, RemedyKind

log = get_logger(__name__)

Outcome = Literal["held", "busy", "stale", "unlocked"]

# KEYS: lock, again, tick number. ARGV: token, lock TTL ms, again TTL ms, the message's tick (0: of an event).
ACQUIRE = """
local tick = tonumber(ARGV[4])
if tick > 0 and tick < tonumber(redis.call('GET', KEYS[3]) or '0') then return 'stale' end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 'held' end
redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
return 'busy'
"""
# KEYS: lock, again. ARGV: token. If the lock has another holder by now, `again` is left to that holder.
RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
redis.call('DEL', KEYS[1])
if redis.call('DEL', KEYS[2]) == 1 then return 'again' end
return 'released'
"""
# KEYS: tick key, tick number. ARGV: TTL ms, force.
_TICK = """
local free = redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1])
if not free and ARGV[2] ~= '1' then return 0 end
return redis.call('INCR', KEYS[2])
"""
_AGAIN_TTL_FACTOR = 5
"""The TTL of `again` in TTLs of the lock: it outlives the lock, so that the next holder finds it if this one dies."""
_TICK_KEY_SHARE = 0.9
"""The TTL of the tick's key as a share of the interval: short enough for the next tick of the same scheduler, and long
enough to stop the tick of a second scheduler."""


@dataclass(slots=True)
class Lease:
    """The result of trying to get a preset's lock. `again` and `lost` are set when the block ends."""

    outcome: Outcome
    """`held`; `busy`: another turn holds it, and will be repeated; `stale`: the message is from an older tick;
    `unlocked`: Redis did not answer."""
    again: bool = False
    """Another turn was wanted while the lock was held."""
    lost: bool = False
    """The lock ended before the block did."""

    @property
    def held(self) -> bool:
        return self.outcome == "held"

    @property
    def go(self) -> bool:
        """Return whether to do the work: with the lock, or without Redis, because the lock only saves work."""
        return self.outcome in ("held", "unlocked")


class Locks:
    """The locks of one namespace.

    Args:
        client: The Redis client.
        namespace: The prefix of the keys.
        ttl: Seconds after which a preset's lock ends by itself.
    """

    def __init__(self, client: redis.Redis, namespace: str, ttl: float) -> None:
        self._client = client
        self._namespace = namespace
        self._ttl_ms = _milliseconds(ttl)
        self._acquire = client.register_script(ACQUIRE)
        self._release = client.register_script(RELEASE)
        self._tick = client.register_script(_TICK)

    @contextmanager
    def preset(self, preset_id: str, *, tick: int = 0, on_again: Callable[[], None] = lambda: None) -> Iterator[Lease]:
        """Try to lock a preset for the block, without waiting, and yield the result.

        Args:
            preset_id: The preset.
            tick: The tick of the message; 0: the message is not from a tick.
            on_again: Called after the release if another turn was wanted in the meantime, even after an error in the
                block: that wake-up must not be lost. If the holder dies, the lock ends with its TTL, and `again` goes
                to the next holder, at the latest that of the next tick.
        """
        lock, again = self._key("lock", preset_id), self._key("again", preset_id)
        # The holder, for people who look at the lock, and a random part that is unique.
        token = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(16)}"
        arguments = [token, self._ttl_ms, self._ttl_ms * _AGAIN_TTL_FACTOR, tick]
        lease = Lease(cast("Outcome", self._run(self._acquire, [lock, again, self._key("tick-number")], arguments)))
        try:
            yield lease
        finally:
            # Release it even if Redis did not answer: it may have set the lock, which nobody else would release.
            if lease.go:
                released = self._run(self._release, [lock, again], [token])
                lease.lost = lease.held and released == "lost"
                lease.again = released == "again"
                if lease.again:
                    on_again()

    def tick(self, interval: float, *, force: bool = False) -> int | None:
        """Return the number of the tick that may begin now; None if there was one within this interval.

        The key is never released, so that two schedulers that do not know of each other make one tick per interval.

        Args:
            interval: Seconds between ticks.
            force: Begin a tick in any case.

        Raises:
            UnreachableError: Redis did not answer.
        """
        ttl = _milliseconds(interval * _TICK_KEY_SHARE)
        try:
            number = int(
                cast("Any", self._tick(keys=[self._key("tick"), self._key("tick-number")], args=[ttl, int(force)]))
            )
        except RedisError as error:
            raise UnreachableError(f"Redis did not answer: {error}", remedy=Remedy(RemedyKind.START_REDIS)) from error
        return number or None

    def look(self, preset_id: str, queues: Sequence[str] = ()) -> Lock:
        """Return who holds a preset's lock, and the number of messages in each queue. One round trip.

        Args:
            preset_id: The preset.
            queues: The queues' full names.
        """
        began = monotonic()
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.get(self._key("lock", preset_id))
                pipeline.pttl(self._key("lock", preset_id))
                for queue in queues:
                    pipeline.llen(queue)
                token, left, *lengths = pipeline.execute()
        except (RedisError, OSError) as error:
            slow = isinstance(error, (RedisTimeoutError, TimeoutError))
            return Lock(unreachable=str(error), waited=timedelta(seconds=monotonic() - began) if slow else None)
        holder = token.decode(errors="replace").rpartition("/")[0] if token else ""
        waiting = dict(zip(queues, (int(length) for length in lengths), strict=True))
        return Lock(holder=holder, left=timedelta(milliseconds=max(left, 0)), waiting=waiting)

    def _key(self, *parts: str) -> str:
        return ":".join((self._namespace, *parts))

    @staticmethod
    def _run(script: Callable[..., Any], keys: list[str], arguments: list[Any]) -> str:
        try:
            answer = script(keys=keys, args=arguments)
        except RedisError as error:
            log.warning("lock_unavailable", key=keys[0], error=str(error))
            return "unlocked"
        return answer.decode() if isinstance(answer, bytes) else str(answer)


def _milliseconds(seconds: float) -> int:
    return max(int(seconds * 1000), 1)  # Redis refuses a TTL of 0
