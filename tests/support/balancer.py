"""A TCP load balancer in front of several serving processes, which asks each of them whether it is ready."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count

_PIECE = 65536
_CHECK_EVERY = 0.1
"""Seconds."""
_CHECK_TIMEOUT = 2.0


class Balancer:
    """Gives each new connection to the next process that is ready. `port` is on 127.0.0.1."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = list(ports)
        """The ports of the processes. May be changed at any time."""
        self.ready: set[int] = set()
        """The ports of those that were ready when last asked."""
        self.port = 0
        self._turns = count()
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self._tasks = set[asyncio.Future[None]]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def run(self) -> Iterator[Balancer]:
        began, self._over = threading.Event(), asyncio.Event()

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            async with await asyncio.start_server(self._accepted, "127.0.0.1", 0) as server:
                self.port = server.sockets[0].getsockname()[1]
                began.set()
                while not self._over.is_set():
                    await asyncio.gather(*(self._check(port) for port in self.ports))
                    self.ready &= set(self.ports)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._over.wait(), _CHECK_EVERY)
                for task in self._tasks:
                    task.cancel()  # Python 3.12 waits for open connections
                await asyncio.gather(*self._tasks, return_exceptions=True)

        thread = threading.Thread(target=lambda: asyncio.run(serve()), name="balancer", daemon=True)
        thread.start()
        assert began.wait(60)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._over.set)
            thread.join(60)

    async def _check(self, port: int) -> None:
        """Ask a process whether it is ready."""
        is_ready = False
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CHECK_TIMEOUT):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    is_ready = b" 200 " in await reader.readline()
                finally:
                    writer.transport.abort()
        (self.ready.add if is_ready else self.ready.discard)(port)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: asyncio would report that its task was canceled.
        task = asyncio.ensure_future(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward a connection; close it if no process takes it."""
        turn, ports = next(self._turns), [port for port in self.ports if port in self.ready]
        try:
            for number in range(len(ports)):
                with suppress(OSError):  # refused, or reset as the process died
                    theirs = await asyncio.open_connection("127.0.0.1", ports[(turn + number) % len(ports)])
                    await _join((reader, writer), theirs)
                    return
        finally:
            writer.transport.abort() if self._over.is_set() else writer.close()


_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(one: _Ends, other: _Ends) -> None:
    """Forward in both directions until either side ends."""
    pipes = [asyncio.ensure_future(_pipe(one[0], other[1])), asyncio.ensure_future(_pipe(other[0], one[1]))]
    try:
        await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pipe in pipes:
            pipe.cancel()
        other[1].transport.abort()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
