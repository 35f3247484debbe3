"""The threads in which requests use the database: few while calls are quick, never too many, and a bounded wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError, UnreachableError
from prebuild_tasks.web.api.threads import FEW, QUICK, Threads
from tests.support.api import Options, serving
from tests.support.wait import wait_until


def run(
    body: Callable[[Threads, threading.Event], Awaitable[None]], number: int, patience: float, longest: float = 60.0
) -> None:
    async def main() -> None:
        threads, released = Threads(number, patience, longest), threading.Event()
        try:
            await body(threads, released)
        finally:
            released.set()
            threads.close()

    asyncio.run(main())


def test_who_waits_for_too_long_is_told_so() -> None:
    async def body(threads: Threads, released: threading.Event) -> None:
        held = [asyncio.create_task(threads.call(released.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting = asyncio.create_task(threads.call(int))
        await asyncio.sleep(0)
        assert (threads.in_use, threads.waiting) == (2, 1)
        with pytest.raises(BusyError, match="all 2 connections"):
            await waiting
        assert threads.waiting == 0
        released.set()
        await asyncio.gather(*held)
        assert await threads.call(int) == 0
        assert (threads.in_use, threads.waiting) == (0, 0)

    run(body, 2, 0.05)


def test_nobody_waits_for_ever_for_a_call() -> None:
    async def body(threads: Threads, released: threading.Event) -> None:
        with pytest.raises(UnreachableError, match="did not answer within"):
            await threads.call(released.wait)
        assert threads.in_use == 1

    run(body, 2, 0.02, longest=0.02)


def test_a_thread_whose_caller_went_away_is_in_use_until_it_ends() -> None:
    async def body(threads: Threads, released: threading.Event) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await threads.call(released.wait)
        assert threads.in_use == 1
        next_one = asyncio.create_task(threads.call(int))
        await asyncio.sleep(0)
        assert threads.waiting == 1
        released.set()
        assert await next_one == 0
        assert (threads.in_use, threads.waiting) == (0, 0)

    run(body, 1, 60)


def test_what_the_function_raises_reaches_its_caller() -> None:
    async def body(threads: Threads, _released: threading.Event) -> None:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await threads.call(lambda: 1 // 0)
        assert threads.in_use == 0

    run(body, 1, 60)


@pytest.mark.parametrize(("number", "few"), [(10, FEW), (2, 2), (1, 1)])
def test_quick_calls_share_few_threads(number: int, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebuild_tasks.web.api.threads.QUICK", 60.0)  # the machine may be busy

    async def body(threads: Threads, released: threading.Event) -> None:
        names = await asyncio.gather(*(threads.call(threading.get_ident) for _ in range(100)))
        assert len(set(names)) <= few
        assert (threads.in_use, threads.waiting) == (0, 0)

    run(body, number, 60)


@pytest.mark.parametrize("number", [1, FEW, 10])
def test_calls_that_take_long_get_the_other_threads(number: int) -> None:
    async def body(threads: Threads, released: threading.Event) -> None:
        held = [asyncio.create_task(threads.call(released.wait)) for _ in range(min(FEW, number))]
        await asyncio.sleep(QUICK * 1.5)
        held += [asyncio.create_task(threads.call(released.wait)) for _ in range(max(0, number - FEW) + 2)]
        await asyncio.sleep(0)
        await asyncio.to_thread(wait_until, lambda: threads.in_use == number)
        assert threads.waiting == 2
        released.set()
        assert all(await asyncio.gather(*held))
        assert (threads.in_use, threads.waiting) == (0, 0)

    run(body, number, 60)


def test_a_call_that_becomes_slow_is_noticed_without_another_one() -> None:
    async def body(threads: Threads, released: threading.Event) -> None:
        held = [asyncio.create_task(threads.call(released.wait)) for _ in range(FEW)]
        await asyncio.sleep(0)
        await threads.call(int)
        assert threads.in_use == FEW
        released.set()
        await asyncio.gather(*held)

    run(body, FEW + 1, 60)


def test_a_request_without_a_connection_is_503(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prebuild_tasks.web.api.door.Threads", lambda number: Threads(number, 0.05))
    with serving(database, settings, Options(connections=1)) as api:
        assert api.get("/v1/pools").status_code == 200
        released = threading.Event()

        async def both() -> None:
            held = asyncio.create_task(api.app.state.door.in_thread(released.wait))
            await asyncio.sleep(0)
            answer = await api.send("GET", "/v1/pools")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert answer.json()["type"] == "/docs#busy"
            assert (await api.send("GET", "/livez")).status_code == 200
            released.set()
            await held

        api.run(both())
        assert api.get("/v1/pools").status_code == 200
