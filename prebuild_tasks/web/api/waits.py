"""All claims that wait in a process: one look in 250 ms tells how they stand.

Who waits holds no connection, no thread and no transaction. A claim waits until its workspace is built; one for which
nothing could be reserved, until another try may get something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import islice

from prebuild_tasks.claims import Choice, WaitStage
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.faultpoints import step
from prebuild_tasks.logs import get_logger

log = get_logger(__name__)

PAUSE = 0.25
"""Seconds between two looks."""
AT_ONCE = 16
"""Claims of one choice that may try again after one look. More of them would only wait for a thread."""

Read = Callable[[Collection[str]], Awaitable[Mapping[str, WaitStage]]]
ReadOpenings = Callable[[Collection[Choice]], Awaitable[Mapping[Choice, int]]]


class Waits:
    """The claims that wait in one event loop."""

    def __init__(self, read: Read, read_openings: ReadOpenings, stopping: asyncio.Event) -> None:
        """Take what reads how claims stand, what counts openings, and what ends every wait."""
        self._read, self._read_openings, self._stopping = read, read_openings, stopping
        self._waiting: dict[str | Choice, dict[asyncio.Future[bool], None]] = {}
        """Those who wait for a claim or an opening, in the order in which they came."""
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def settled(self, claim_id: str, seconds: float) -> bool:
        """Wait until a claim need not wait any longer; False: it still must when the time is over."""
        return await self._until_ended(claim_id, seconds)

    async def opened(self, choice: Choice, seconds: float) -> bool:
        """Wait until a claim of this choice may get something; False: not before the time is over."""
        return await self._until_ended(choice, seconds)

    async def _until_ended(self, key: str | Choice, seconds: float) -> bool:
        if self._stopping.is_set():
            return False
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, {})[ended] = None
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_until_nobody_waits())
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._end_all_when_stopping())
        try:
            async with asyncio.timeout(seconds):
                return await ended
        except TimeoutError:
            return False
        finally:
            self._forget(key, ended)

    def _forget(self, key: str | Choice, ended: asyncio.Future[bool]) -> None:
        left = self._waiting.get(key, {})
        left.pop(ended, None)
        if not left:
            self._waiting.pop(key, None)

    async def _end_all_when_stopping(self) -> None:
        """End every wait as soon as the process is about to stop, even if the database does not answer."""
        await self._stopping.wait()
        for key in [*self._waiting]:
            self._end(key, result=False)

    async def _read_until_nobody_waits(self) -> None:
        while self._waiting:
            number = sum(map(len, self._waiting.values()))
            try:
                await self._look()
            except PrebuildError as error:  # the claims stay as they are: who waits goes on waiting
                log.warning("waits_not_read", waiting=number, error=error.message)
            except Exception:
                log.exception("waits_not_read", waiting=number)
            step("claim.waiting")
            await asyncio.sleep(PAUSE)

    async def _look(self) -> None:
        """End the waits that need not go on. Others may begin to wait meanwhile: they are for the next look."""
        claim_ids = [key for key in self._waiting if isinstance(key, str)]
        choices = [key for key in self._waiting if not isinstance(key, str)]
        if claim_ids:
            stages = await self._read(claim_ids)
            for claim_id in claim_ids:
                if stages.get(claim_id) is not WaitStage.BEING_BUILT:
                    self._end(claim_id, result=True)
        if choices:
            for choice, openings in (await self._read_openings(choices)).items():
                self._end(choice, result=True, most=min(openings, AT_ONCE))

    def _end(self, key: str | Choice, *, result: bool, most: int | None = None) -> None:
        """End waits, of whoever came first if not of all."""
        for ended in [*islice(self._waiting.get(key, ()), most)]:
            if not ended.done():
                ended.set_result(result)
