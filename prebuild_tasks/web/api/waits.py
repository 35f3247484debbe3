"""All claims that wait in a process: one query in 250 ms tells how they stand.

Who waits holds no connection, no thread and no transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from prebuild_tasks.claims import WaitStage
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.faultpoints import step
from prebuild_tasks.logs import get_logger

log = get_logger(__name__)

PAUSE = 0.25
"""Seconds between two queries."""

Read = Callable[[Collection[str]], Awaitable[Mapping[str, WaitStage]]]


class Waits:
    """The claims that wait in one event loop."""

    def __init__(self, read: Read, stopping: asyncio.Event) -> None:
        """Take what reads how claims stand, and what ends every wait."""
        self._read, self._stopping = read, stopping
        self._waiting: dict[str, set[asyncio.Future[bool]]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def settled(self, claim_id: str, seconds: float) -> bool:
        """Wait until a claim need not wait any longer; False: it still must when the time is over."""
        if self._stopping.is_set():
            return False
        settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(claim_id, set()).add(settled)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_until_nobody_waits())
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._end_all_when_stopping())
        try:
            async with asyncio.timeout(seconds):
                return await settled
        except TimeoutError:
            return False
        finally:
            self._forget(claim_id, settled)

    def _forget(self, claim_id: str, settled: asyncio.Future[bool]) -> None:
        left = self._waiting.get(claim_id, set())
        left.discard(settled)
        if not left:
            self._waiting.pop(claim_id, None)

    async def _end_all_when_stopping(self) -> None:
        """End every wait as soon as the process is about to stop, even if the database does not answer."""
        await self._stopping.wait()
        self._end([*self._waiting], settled=False)

    async def _read_until_nobody_waits(self) -> None:
        while self._waiting:
            asked = list(self._waiting)  # others may come while it is read
            try:
                stages = await self._read(asked)
            except PrebuildError as error:  # the claims stay as they are: who waits goes on waiting
                log.warning("waits_not_read", waiting=len(asked), error=error.message)
            except Exception:
                log.exception("waits_not_read", waiting=len(asked))
            else:
                done = [one for one in asked if stages.get(one) is not WaitStage.BEING_BUILT]
                self._end(done, settled=True)
            step("claim.waiting")
            await asyncio.sleep(PAUSE)

    def _end(self, claim_ids: Collection[str], *, settled: bool) -> None:
        for waiting in [one for claim_id in claim_ids for one in self._waiting.get(claim_id, ())]:
            if not waiting.done():
                waiting.set_result(settled)
