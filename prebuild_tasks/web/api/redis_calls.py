"""Calls to Redis for requests, in threads of their own: a Redis that hangs takes none of those for the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BusyError
from prebuild_tasks.insight import look_at_turn
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging import DirectMessages, connect
from prebuild_tasks.reconcile import Lock, Locks
from prebuild_tasks.web.api.threads import Threads

log = get_logger(__name__)

REST = 2.0
"""Seconds for which a Redis that did not answer is not asked the same kind of question."""
_NUMBER = 4
"""Threads."""
_DETAIL_TIMEOUT = 0.5
"""Seconds to wait for Redis where it adds only a detail."""
_TIMEOUT = 2.0
"""Seconds to wait for Redis where the message is what was asked for, and for a thread."""
_NOT_ASKED = Lock(unreachable="it was asked a moment ago")
_WHY = "the log of the server says why"

T = TypeVar("T")


@dataclass(slots=True)
class _Rest:
    """A time in which questions of a kind are not asked."""

    ends: float = 0.0


class RedisCalls:
    """Asks Redis on behalf of requests. Use it in one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Take the address of Redis and the names in it. Nothing is connected to before the first call."""
        self._settings = settings
        url = settings.resolved_redis_url
        self._client = connect(url, connect_timeout=_DETAIL_TIMEOUT, timeout=_DETAIL_TIMEOUT)
        self._locks = Locks(self._client, settings.namespace, settings.lock_ttl)
        self._messages = DirectMessages(url, settings.queue, timeout=_TIMEOUT)
        self._threads = Threads(_NUMBER, _TIMEOUT)
        self._sending, self._looking = _Rest(), _Rest()
        """Two, because Redis has less time for a detail, so that a message may be taken all the same."""

    async def request_turn(self, preset_id: int | None, name: str) -> bool:
        """Ask for the turn of a preset, or of all for None; return whether Redis took the message."""

        def send() -> bool:
            if preset_id is None:
                return bool(self._messages.tick())
            return bool(self._messages.reconcile([str(preset_id)], shown={str(preset_id): name}))

        return await self._ask(self._sending, send, bool) or False

    async def look_at_turn(self, preset_id: int) -> Lock:
        """Return who has the turn of a preset, and how many messages wait. Where Redis is, no caller learns."""
        look = partial(look_at_turn, self._locks, self._settings, preset_id)
        lock = await self._ask(self._looking, look, lambda lock: not lock.unreachable) or _NOT_ASKED
        if lock is _NOT_ASKED or not lock.unreachable:
            return lock
        log.warning("turn_not_looked_at", error=lock.unreachable)
        return replace(lock, unreachable=_WHY)

    def close(self) -> None:
        """Wait for what is asked, and close the connections."""
        self._threads.close()
        self._messages.close()
        self._client.close()

    async def _ask(self, rest: _Rest, question: Callable[[], T], is_answered: Callable[[T], bool]) -> T | None:
        """Return what a question brings; None: it was not asked, because Redis rests or no thread was free."""

        def work() -> T | None:
            if monotonic() < rest.ends:
                return None
            result = question()
            if not is_answered(result):
                rest.ends = monotonic() + REST
            return result

        try:
            return await self._threads.call(work)
        except BusyError:
            return None
