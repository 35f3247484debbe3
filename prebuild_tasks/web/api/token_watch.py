"""The tokens and sessions of requests that take long: one that has ended ends its requests soon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from typing import TypeVar

from prebuild_tasks.errors import AuthenticationError, PrebuildError
from prebuild_tasks.logs import get_logger

log = get_logger(__name__)

PAUSE = 0.25
"""Seconds between two looks at the tokens in use."""
AGE_MAX = 1.5
"""Seconds for which what the database said of a token is believed here. With a pause and a read, it is less than 2."""
SESSIONS_PAUSE = 3.0
"""Seconds between two looks at the sessions in use: their streams end within 5 s."""

T = TypeVar("T")
LookUp = Callable[[str], Awaitable[object]]
LookAhead = Callable[[Collection[str]], Awaitable[object]]


class TokenWatch:
    """The tokens of the requests that wait in one event loop: however many have a token, it is looked up once."""

    def __init__(self, look_up: LookUp, look_ahead: LookAhead | None = None, pause: float = PAUSE) -> None:
        """Take what raises AuthenticationError for a token that can no longer be used.

        `look_ahead` may read many of them at once, before each is looked up; `pause` are the seconds between two looks.
        """
        self._look_up, self._look_ahead, self._pause = look_up, look_ahead, pause
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
            tokens = [*self._waiting]
            if self._look_ahead:
                with suppress(PrebuildError):  # each is looked up by itself then
                    await self._look_ahead(tokens)
            await asyncio.gather(*(self._look_at(token) for token in tokens))
            await asyncio.sleep(self._pause)

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
