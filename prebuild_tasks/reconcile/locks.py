"""The preset's lock and the tick's key, one Lua script each way.

The lock only saves work: losing it, or Redis, changes nothing but cost. What keeps a pool from growing too large is the
row lock with the re-read, in the database. The tick's number is for dropping stale messages and never a fencing token:
Redis restarts empty.
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
import structlog
from redis.exceptions import RedisError

from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.reconcile.rules.model import Lock
from prebuild_tasks.remedies import Remedy, RemedyKind

log = structlog.get_logger(__name__)

Outcome = Literal["held", "busy", "stale", "unlocked"]

# KEYS: lock, again, tick number. ARGV: token, lock TTL ms, again TTL ms, the message's tick (0: of an event).
ACQUIRE = """
local tick = tonumber(ARGV[4])
if tick > 0 and tick < tonumber(redis.call('GET', KEYS[3]) or '0') then return 'stale' end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 'held' end
redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
return 'busy'
"""
# KEYS: lock, again. ARGV: token. A lock that is no longer ours leaves `again` to its present holder.
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
"""`again` outlives the lock it waits for, so that the next holder still finds it when this one dies."""
_TICK_KEY_SHARE = 0.9
"""Of the interval: shorter, so that a punctual beat never meets its own last key; long enough to swallow a second
beat."""


@dataclass(slots=True)
class Lease:
    """What came of asking for a preset's lock.

    `busy`: somebody else holds it, and was asked to come again. `stale`: the message is of an older tick. `unlocked`:
    Redis did not answer. `again` and `lost` stand after the block: somebody asked meanwhile; the lock ended before us.
    """

    outcome: Outcome
    again: bool = False
    lost: bool = False

    @property
    def held(self) -> bool:
        return self.outcome == "held"

    @property
    def go(self) -> bool:
        """Do the work: with the lock, or without Redis, as the lock only saves work."""
        return self.outcome in ("held", "unlocked")


class Locks:
    """The locks of one namespace. `ttl` is in seconds."""

    def __init__(self, client: redis.Redis, namespace: str, ttl: float) -> None:
        self._client = client
        self._namespace = namespace
        self._ttl_ms = _milliseconds(ttl)
        self._acquire = client.register_script(ACQUIRE)
        self._release = client.register_script(RELEASE)
        self._tick = client.register_script(_TICK)

    @contextmanager
    def preset(self, preset_id: str, *, tick: int = 0, on_again: Callable[[], None] = lambda: None) -> Iterator[Lease]:
        """Yield a lease; nobody waits.

        `on_again` is called after the release when somebody asked in the meantime, also after an error in the body:
        their wake-up must not be lost. A holder that dies calls nothing: the lock ends with its TTL, `again` outlives
        it and goes to the next holder, which the next tick sends at the latest.
        """
        lock, again = self._key("lock", preset_id), self._key("again", preset_id)
        # Whose it is, for people who wonder; and what nobody else can have.
        token = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(16)}"
        arguments = [token, self._ttl_ms, self._ttl_ms * _AGAIN_TTL_FACTOR, tick]
        lease = Lease(cast("Outcome", self._run(self._acquire, [lock, again, self._key("tick-number")], arguments)))
        try:
            yield lease
        finally:
            # Also when the acquire got no answer: Redis may have set the lock all the same, and nobody would end it.
            if lease.go:
                released = self._run(self._release, [lock, again], [token])
                lease.lost = lease.held and released == "lost"
                lease.again = released == "again"
                if lease.again:
                    on_again()

    def tick(self, interval: float, *, force: bool = False) -> int | None:
        """The number of the tick that may begin now; None while another one of this interval holds the key.

        `force` begins one whatever the key says. The key is never released, so two beats that know nothing of each
        other still make one tick per interval. Raises UnreachableError without Redis.
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
        """Who holds a preset's lock, and how many messages wait in queues, by their full names. One round trip."""
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.get(self._key("lock", preset_id))
                pipeline.pttl(self._key("lock", preset_id))
                for queue in queues:
                    pipeline.llen(queue)
                token, left, *lengths = pipeline.execute()
        except (RedisError, OSError) as error:
            return Lock(unreachable=str(error))
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
