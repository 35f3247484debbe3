"""The tokens of requests that take long: one that was revoked, or has expired, ends its requests within 2 s."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from prebuild_tasks.errors import AuthenticationError, PrebuildError
from prebuild_tasks.logs import get_logger

log = get_logger(__name__)

PAUSE = 0.25
"""Seconds between two looks at the tokens in use."""
AGE_MAX = 1.5
"""Seconds for which what the database said of a token is believed here. With a pause and a read, it is less than 2."""

T = TypeVar("T")
LookUp = Callable[[str], Awaitable[object]]


class TokenWatch:
    """The tokens of the requests that wait in one event loop: however many have a token, it is looked up once."""

    def __init__(self, look_up: LookUp) -> None:
        """Take what raises AuthenticationError for a token that can no longer be used."""
        self._look_up = look_up
        self._waiting: dict[str, set[asyncio.Future[AuthenticationError]]] = {}
        self._watcher: asyncio.Task[None] | None = None

    async def unless_ended(self, token: str, work: Coroutine[object, object, T]) -> T:
        """Return what `work` returns. Raises AuthenticationError, and cancels the work, once the token has ended."""
        ended: asyncio.Future[AuthenticationError] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(token, set()).add(ended)
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch())
        task = asyncio.create_task(work)
        try:
            await asyncio.wait((task, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise await ended
            return await task
        finally:
            task.cancel()  # it does nothing to one that is done
            self._forget(token, ended)

    def _forget(self, token: str, ended: asyncio.Future[AuthenticationError]) -> None:
        left = self._waiting[token]
        left.discard(ended)
        if not left:
            del self._waiting[token]

    async def _watch(self) -> None:
        while self._waiting:
            await asyncio.gather(*(self._look_at(token) for token in [*self._waiting]))
            await asyncio.sleep(PAUSE)

    async def _look_at(self, token: str) -> None:
        try:
            await self._look_up(token)
        except AuthenticationError as error:
            for ended in self._waiting.get(token, ()):
                if not ended.done():
                    ended.set_result(error)
        except PrebuildError as error:  # it is not known to have ended
            log.warning("token_not_looked_up", error=error.message)
        except Exception:
            log.exception("token_not_looked_up")
