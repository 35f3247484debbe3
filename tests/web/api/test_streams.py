"""Streams of events: every listener gets what it sees, in order, once, and one reader serves them all."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from prebuild_tasks.events import Event as LogEvent
from prebuild_tasks.events import LoggedEvent
from prebuild_tasks.model.event_kinds import EventKind
from prebuild_tasks.web.api import open_streams, streams
from prebuild_tasks.web.api.event_log import encode_event
from prebuild_tasks.web.api.open_streams import BEHIND_MAX
from tests.support.log_in_memory import Stage, ids, staged, until


def test_a_listener_gets_what_it_missed_and_then_what_comes() -> None:
    async def body(stage: Stage) -> None:
        stage.log.write(*"abab")
        async with stage.listening("a", after=0) as stream:
            assert await ids(stream, 2) == [1, 3]
            stage.log.write(*"ba")
            assert await ids(stream, 1) == [6]

    staged(body)


def test_nothing_is_lost_or_doubled_while_events_come_and_listeners_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PAUSE", 0.001)
    monkeypatch.setattr(streams, "READ_MAX", 3)

    async def body(stage: Stage) -> None:
        async def write() -> None:
            for _ in range(200):
                stage.log.write("a")
                await asyncio.sleep(0)

        async def follow(after: int) -> list[int]:
            while len(stage.log.events) < after:
                await asyncio.sleep(0)
            async with stage.listening("", after=after) as stream:
                return await ids(stream, 200 - after)

        writer = asyncio.create_task(write())
        followed = await asyncio.gather(*(follow(after) for after in (0, 1, 2, 50, 120)))
        await writer
        for after, read in zip((0, 1, 2, 50, 120), followed, strict=True):
            assert read == [*range(after + 1, 201)]

    staged(body)


def test_listeners_share_one_reader_and_one_encoding() -> None:
    async def body(stage: Stage) -> None:
        async with stage.listening() as one, stage.listening() as two, stage.listening("a") as third:
            heard = [asyncio.create_task(ids(stream, 1)) for stream in (one, two, third)]
            while stage.log.reads < 2:  # by then, all have joined
                await asyncio.sleep(0)
            before = stage.log.reads
            stage.log.write("a")
            assert await asyncio.gather(*heard) == [[1], [1], [1]]
            assert stage.log.encoded == 1
            assert stage.log.reads - before <= 2

    staged(body)


@pytest.mark.parametrize("missed", [0, 1])
def test_one_that_takes_nothing_is_cut_and_the_others_go_on(missed: int) -> None:
    """One that took nothing of what it had missed used to be kept for ever."""

    async def body(stage: Stage) -> None:
        stage.log.write(*"a" * missed)
        taken: list[bytes] = []

        async def stuck() -> None:
            async with stage.listening() as stream:
                async for chunk in stream:
                    taken.append(chunk)
                    await asyncio.Event().wait()  # its client takes nothing more

        slow = asyncio.create_task(stuck())
        async with stage.listening(after=missed) as stream:
            first = asyncio.create_task(ids(stream, 1))
            while stage.listeners < 2 or stage.log.reads < 2:
                await asyncio.sleep(0)
            stage.log.write("a")
            assert await first == [1 + missed]
            stage.log.write(*"a" * (BEHIND_MAX + 1))
            assert len(await ids(stream, BEHIND_MAX + 1)) == BEHIND_MAX + 1
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(slow, 10)
        assert (len(taken), stage.cut) == (1, 1)

    staged(body)


def test_a_log_that_cannot_be_read_delays_and_loses_nothing() -> None:
    async def body(stage: Stage) -> None:
        async with stage.listening() as stream:
            first = asyncio.create_task(ids(stream, 1))
            while not stage.log.reads:
                await asyncio.sleep(0)
            stage.log.fails = True
            stage.log.write("a")
            before = stage.log.reads
            while stage.log.reads < before + 2:
                await asyncio.sleep(0.01)
            stage.log.fails = False
            assert await first == [1]

    staged(body)


def test_silence_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_streams, "HEARTBEAT", 0.0)

    async def body(stage: Stage) -> None:
        async with stage.listening() as stream, asyncio.timeout(10):
            assert await anext(stream) == b":\nid: 0\n\n"

    staged(body)


def test_a_comment_tells_how_far_the_log_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that one who sees few events goes on there, and not before what retention deletes meanwhile."""
    monkeypatch.setattr(open_streams, "HEARTBEAT", 0.01)

    async def body(stage: Stage) -> None:
        async with stage.listening("b") as stream, asyncio.timeout(10):
            assert await anext(stream) == b":\nid: 0\n\n"
            stage.log.write(*"aa")
            while (comment := await anext(stream)) == b":\nid: 0\n\n":
                pass
            assert comment == b":\nid: 2\n\n"

    staged(body)


@pytest.mark.parametrize("hangs", [False, True])
def test_silence_is_filled_while_the_log_cannot_be_read(monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    monkeypatch.setattr(open_streams, "HEARTBEAT", 0.05)

    async def body(stage: Stage) -> None:
        async with stage.listening() as stream, asyncio.timeout(10):
            assert (await anext(stream)).startswith(b":\n")
            if hangs:
                stage.log.may_answer.clear()
            stage.log.fails, reads = True, stage.log.reads
            await until(lambda: stage.log.reads > reads)
            for _ in range(3):
                assert (await anext(stream)).startswith(b":\n")

    staged(body)


def test_at_the_stop_a_stream_asks_its_client_to_come_back_and_ends() -> None:
    async def body(stage: Stage) -> None:
        async with stage.listening() as stream, asyncio.timeout(10):
            last = asyncio.create_task(anext(stream))
            while not stage.log.reads:
                await asyncio.sleep(0)
            stage.stopping.set()
            text = (await last).decode()
            assert text.startswith("retry: ")
            assert 1000 <= int(text.split()[1]) <= 5000
            assert await anext(stream, b"end") == b"end"

    staged(body)


def test_an_event_is_three_lines_whatever_it_holds() -> None:
    """Clients that split at every line break of Unicode used to get half of an event."""
    breaks = "a\r\n\u2028\u0085\x1cé\ud800"
    event = LoggedEvent(
        LogEvent(
            id=7, at=datetime(2026, 1, 1, tzinfo=UTC), kind=EventKind.PAUSED, pool=None, owner=None, workspace=None,
            actor="ada", reason=breaks, data={},
        ),
        "", concerns_all_pools=True,
    )  # fmt: skip
    number, kind, data, *rest = encode_event(event).decode().splitlines()
    assert (number, kind, rest) == ("id: 7", "event: paused", [""])
    assert json.loads(data.removeprefix("data: "))["reason"] == breaks


def test_streams_end_when_the_log_was_restored_and_new_ones_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PAUSE", 0.001)

    async def body(stage: Stage) -> None:
        stage.log.write(*"aaa")
        async with stage.listening("a", after=0) as one, stage.listening("a", after=1) as other:
            assert (await ids(one, 3), await ids(other, 2)) == ([1, 2, 3], [2, 3])
            del stage.log.events[1:]
            async with asyncio.timeout(10):
                assert [[chunk async for chunk in stream] for stream in (one, other)] == [[], []]
            async with stage.listening("a", after=1) as again:
                task = asyncio.create_task(ids(again, 1))
                await asyncio.sleep(0)
                stage.log.write("a")
                assert await task == [2]

    staged(body)
