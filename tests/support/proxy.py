"""A TCP proxy in front of a server, which can stop forwarding, and can lose the answer to a commit."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_PIECE = 65536
_ATTACH_FILTER, _DETACH_FILTER = 26, 27
"""SO_ATTACH_FILTER and SO_DETACH_FILTER of Linux, which Python does not name."""


class Proxy:
    """Forwards TCP connections to a unix socket; with `tls`, clients connect encrypted. `port` is on 127.0.0.1.

    While it hangs, it accepts connections and bytes but forwards nothing, like a dropped route. Connections opened
    before stay dead permanently, as they do behind a load balancer that has lost its state.
    """

    def __init__(self, target: Path, tls: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._dead: set[int] = set()
        self._writers: dict[int, asyncio.StreamWriter] = {}
        """The connections that are open, by their number."""
        self._unanswered: dict[int, asyncio.StreamWriter] = {}
        """The connections to the server on which it has said nothing yet, by the same number."""
        self._tasks: set[Any] = set()
        self._count = 0
        self._hangs = False
        self._cuts = 0
        self.cut = 0
        """Number of commits whose answer was lost so far."""
        self.port = 0

    @contextmanager
    def run(self) -> Iterator[Proxy]:
        ready = threading.Event()

        async def serve() -> None:
            server = self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=self._tls)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            # The server accepts connections already. A canceled `serve_forever` waits for all of them [Python 3.12].
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.sleep(0.01)  # pending connections reach `_accepted` before the server closes
                server.close()

        def main() -> None:
            asyncio.set_event_loop(self._loop)
            with suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._task)
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(asyncio.sleep(0.05))  # for the transports to close

        self._task = self._loop.create_task(serve())
        thread = threading.Thread(target=main, name="proxy", daemon=True)
        thread.start()
        assert ready.wait(60)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._task.cancel)
            thread.join(60)
            self._loop.close()

    def hang(self) -> None:
        """Stop forwarding."""
        self._call(self._hang)

    def heal(self) -> None:
        """Forward new connections again; older ones stay dead."""
        self._hangs = False

    def vanish(self) -> None:
        """Answer no packet any more, as a machine without power or route; connections opened before stay dead."""
        self._call(self._vanish)

    def reappear(self) -> None:
        """Accept and forward new connections again, after `vanish`."""
        self.heal()
        with suppress(FileNotFoundError):  # nothing was attached
            self._call(lambda: self._server.sockets[0].setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0))

    def forget(self) -> None:
        """Reset the connections that are dead, as a machine that lost its memory does, once nobody uses them any more.

        Until then their clients' ports are in use on this side: a new connection from one of them gets no answer after
        `vanish`, and with some 3,000 connections the system comes by all of them again.
        """
        self._call(self._forget)

    def lead_to(self, target: Path) -> None:
        """Forward new connections to another socket, as after a change of a name; older ones stay where they are."""
        self._target = target

    def lose_commits(self, count: int = 1) -> None:
        """Forward the next commits, and cut the connection instead of answering."""
        self._cuts = count

    def _hang(self) -> None:
        self._hangs = True
        self._dead |= self._writers.keys()
        for to_writer in self._unanswered.values():
            to_writer.transport.abort()  # see `_forward`

    def _forget(self) -> None:
        for writer in [self._writers[number] for number in self._dead & self._writers.keys()]:
            if own := _open_socket(writer):
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _vanish(self) -> None:
        self._hang()
        for writer in self._writers.values():
            if own := _open_socket(writer):
                drop_all_packets(own)
        drop_all_packets(self._server.sockets[0])

    def _call(self, change: Callable[[], object]) -> None:
        """Call a function in the thread of the loop, and wait for its end."""

        async def call() -> None:
            change()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(60)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, and close it even if the task is canceled before its first line."""
        self._count += 1
        number = self._count
        self._writers[number] = writer
        if self._hangs:
            self._dead.add(number)

        def ended(task: asyncio.Task[None]) -> None:
            self._writers.pop(number, None)
            self._tasks.discard(task)
            writer.transport.abort()
            if not task.cancelled() and not isinstance(task.exception(), OSError | None):
                raise RuntimeError("the proxy broke") from task.exception()

        task = self._loop.create_task(self._forward(number, reader, writer))
        self._tasks.add(task)  # the loop itself holds them weakly
        task.add_done_callback(ended)

    async def _forward(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A dead connection that the server has not answered does not reach it: PostgreSQL, while it shuts down, waits
        # for the first words of whoever connects, for a minute (`authentication_timeout`).
        if number not in self._dead:
            to_reader, to_writer = await asyncio.open_unix_connection(str(self._target))
            if number not in self._dead:
                self._unanswered[number] = to_writer
                await self._forward_to(number, reader, writer, to_reader, to_writer)
                return
            to_writer.transport.abort()
        while await reader.read(_PIECE):
            pass

    async def _forward_to(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        to_reader: asyncio.StreamReader,
        to_writer: asyncio.StreamWriter,
    ) -> None:
        cutting = False

        async def up() -> None:
            nonlocal cutting
            while piece := await reader.read(_PIECE):
                if number in self._dead:
                    continue
                if self._cuts and piece.startswith(b"Q") and b"COMMIT" in piece:
                    self._cuts -= 1
                    cutting = True
                to_writer.write(piece)
                await to_writer.drain()

        async def down() -> None:
            while piece := await to_reader.read(_PIECE):
                if len(piece) > 1:  # not only whether it encrypts
                    self._unanswered.pop(number, None)
                if cutting:
                    self.cut += 1
                    return
                if number in self._dead:
                    continue
                writer.write(piece)
                await writer.drain()

        tasks = [asyncio.ensure_future(up()), asyncio.ensure_future(down())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if number in self._dead:
                await asyncio.wait(tasks)  # a dead connection is not even closed
        finally:
            self._unanswered.pop(number, None)
            to_writer.transport.abort()  # first: the lines below may be canceled
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _open_socket(writer: asyncio.StreamWriter) -> Any:
    """Return a connection's socket; None if it is closed, as when its client has ended a dead connection."""
    own = writer.get_extra_info("socket")
    return own if own and own.fileno() >= 0 else None


def drop_all_packets(target: Any) -> None:
    """Let the kernel drop what arrives for a socket before TCP sees it, so that nothing is acknowledged."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0 bytes of the packet
    target.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))
