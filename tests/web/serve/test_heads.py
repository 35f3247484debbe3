"""The head of a request is bounded in size and in time, before anybody has shown a token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from prebuild_tasks.web.serve import heads
from prebuild_tasks.web.serve.heads import HEAD_MAX, BoundedHeads

START = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = Config(answer, http=BoundedHeads, ws="none", lifespan="off", log_config=None)
    config.load()
    loop, state = asyncio.get_running_loop(), ServerState()
    server = await loop.create_server(lambda: BoundedHeads(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()
        async with asyncio.timeout(20):
            while state.connections:
                await asyncio.sleep(0)


async def exchange(*pieces: bytes) -> bytes:
    """Send pieces, and return what is answered until the server closes the connection, or has answered `ok`."""
    async with connected() as (reader, writer):
        received = b""
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            while not received.endswith(b"ok") and (more := await reader.read(65536)):
                received += more
        return received


def padded(size: int) -> bytes:
    """Return a head of so many bytes."""
    return START + b"X-Pad: " + b"a" * (size - len(START) - len(b"X-Pad: \r\n\r\n")) + b"\r\n\r\n"


def test_a_head_up_to_the_limit_is_answered() -> None:
    assert asyncio.run(exchange(padded(HEAD_MAX))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("pieces", [[padded(HEAD_MAX + 1)], [START + b"X-Pad: ", *[b"a" * 8192] * 9]])
def test_a_larger_head_is_refused(pieces: list[bytes]) -> None:
    """40 MB of headers used to be kept for a client without a token."""
    head, _, body = asyncio.run(exchange(*pieces)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "head_too_large"


@pytest.mark.parametrize("sent", [START + b"X-Pad: " + b"a" * HEAD_MAX, b"nonsense\r\n\r\n"])
def test_who_still_sends_reads_the_refusal(sent: bytes) -> None:
    """A connection that was closed at once was reset by what arrived then."""

    async def work() -> bytes:
        async with connected() as (reader, writer), asyncio.timeout(20):
            writer.write(sent)
            first = await reader.readexactly(1)
            for _ in range(20):
                writer.write(b"a" * 65536)
                await writer.drain()
            return first + await reader.read()

    answered = asyncio.run(work())
    assert answered.split()[1] in (b"431", b"400")
    assert b'"code"' in answered


def test_a_body_is_not_part_of_the_head() -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000
    assert asyncio.run(exchange(request)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("sent", "status"), [(START, b"HTTP/1.1 408 "), (b"", b"")])
def test_a_head_that_does_not_arrive_is_not_waited_for(
    sent: bytes, status: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "HEAD_TIMEOUT", 0.1)
    assert asyncio.run(exchange(sent))[: len(status) or None] == status


def test_the_next_head_on_a_connection_is_bounded_too() -> None:
    async def work() -> list[bytes]:
        async with connected() as (reader, writer):
            answers = []
            for size in (HEAD_MAX - 100, HEAD_MAX - 100, HEAD_MAX + 100):
                writer.write(padded(size))
                answers.append(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20))
                if b" 200 " in answers[-1]:
                    await reader.readexactly(2)
            return answers

    assert [line.split()[1] for line in asyncio.run(work())] == [b"200", b"200", b"431"]
