"""The threads that use the database: few while calls are quick, all of them while some are not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from prebuild_tasks.web.api.threads import FEW, QUICK, Threads
from tests.support.wait import wait_until


def use(number: int, work: Callable[[Threads], Awaitable[None]]) -> None:
    async def run() -> None:
        threads = Threads(number)
        try:
            await work(threads)
        finally:
            threads.close()

    asyncio.run(run())


@pytest.mark.parametrize(("number", "few"), [(10, FEW), (2, 2), (1, 1)])
def test_quick_calls_share_few_threads(number: int, few: int) -> None:
    async def work(threads: Threads) -> None:
        names = await asyncio.gather(*(threads.call(threading.get_ident) for _ in range(100)))
        assert len(set(names)) <= few
        assert (threads.in_use, threads.waiting) == (0, 0)

    use(number, work)


@pytest.mark.parametrize("number", [1, FEW, 10])
def test_calls_that_take_long_get_the_other_threads(number: int) -> None:
    async def work(threads: Threads) -> None:
        ended = threading.Event()
        held = [asyncio.create_task(threads.call(ended.wait)) for _ in range(min(FEW, number))]
        await asyncio.sleep(QUICK * 1.5)
        held += [asyncio.create_task(threads.call(ended.wait)) for _ in range(max(0, number - FEW) + 2)]
        await asyncio.sleep(0)
        await asyncio.to_thread(wait_until, lambda: threads.in_use == number)
        assert threads.waiting == 2
        ended.set()
        assert all(await asyncio.gather(*held))
        assert (threads.in_use, threads.waiting) == (0, 0)

    use(number, work)


def test_a_call_raises_what_it_raises() -> None:
    async def work(threads: Threads) -> None:
        with pytest.raises(ZeroDivisionError):
            await threads.call(lambda: 1 // 0)
        assert (threads.in_use, threads.waiting) == (0, 0)

    use(4, work)
