"""Streams that catch up read in turn, share what they read, and are not ended while they wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from prebuild_tasks.web.api import open_streams, streams
from prebuild_tasks.web.api.open_streams import BEHIND_MAX
from tests.support.log_in_memory import Stage, ids, staged, until


async def ids_but_comments(stream: AsyncIterator[bytes]) -> list[int]:
    """Return the numbers of the first events that come after comments."""
    while (chunk := await anext(stream)).startswith(b":"):
        pass
    return [int(word) for word in chunk.split()]


def test_who_missed_the_same_shares_one_read() -> None:
    async def body(stage: Stage) -> None:
        stage.log.write(*"aaa")
        stage.log.may_catch_up.clear()
        async with stage.listening() as one, stage.listening() as two:
            heard = [asyncio.create_task(ids(stream, 3)) for stream in (one, two)]
            await until(lambda: stage.streams.number == 2)
            stage.log.may_catch_up.set()
            assert await asyncio.gather(*heard) == [[1, 2, 3]] * 2
        assert (stage.log.missed_reads, stage.log.encoded) == ([0], 3)

    staged(body)


def test_who_missed_much_reads_in_turn_with_the_others() -> None:
    async def body(stage: Stage) -> None:
        stage.log.write(*"a" * 20)
        stage.log.missed_max = 2
        stage.log.may_catch_up.clear()
        async with stage.listening(after=0) as much, stage.listening(after=17) as little:
            heard = [asyncio.create_task(ids(stream, number)) for stream, number in ((much, 20), (little, 3))]
            await until(lambda: stage.streams.number == 2)
            stage.log.may_catch_up.set()
            await asyncio.gather(*heard)
        assert stage.log.missed_reads[:4] == [0, 17, 2, 19]

    staged(body)


def test_who_waits_to_catch_up_is_not_ended_and_hears_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much comes meanwhile. Those that have gone away hold nobody up."""
    monkeypatch.setattr(open_streams, "HEARTBEAT", 0.0)
    monkeypatch.setattr(streams, "PAUSE", 0.001)

    async def body(stage: Stage) -> None:
        stage.log.write(*"aaa")
        stage.log.may_catch_up.clear()
        async with stage.listening("a", after=2) as waiting, asyncio.timeout(10):
            assert await anext(waiting) == b":\nid: 2\n\n"
            async with stage.listening("b", after=1) as leaving:
                assert await anext(leaving) == b":\nid: 1\n\n"
            heard = asyncio.create_task(ids_but_comments(waiting))
            stage.log.write(*"a" * (BEHIND_MAX + 5))
            reads = stage.log.reads
            await until(lambda: stage.log.reads > reads + 2)
            assert not heard.done()
            stage.log.may_catch_up.set()
            assert (await heard)[:2] == [3, 4]
        assert stage.log.missed_reads[:1] == [2]
        assert 1 not in stage.log.missed_reads

    staged(body)
