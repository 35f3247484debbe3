"""A server that speaks the protocol of Redis, and refuses what it is asked."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

REFUSALS = {
    "READONLY": "READONLY You can't write against a read only replica.",
    "OOM": "OOM command not allowed when used memory > 'maxmemory'.",
    "NOAUTH": "NOAUTH Authentication required.",
    "LOADING": "LOADING Redis is loading the dataset in memory",
}
"""The errors of Redis itself."""
_READING = {
    b"HELLO": b"%1\r\n$5\r\nproto\r\n:3", b"CLIENT": b"+OK", b"PING": b"+PONG",
    b"GET": b"_", b"PTTL": b":-2", b"LLEN": b":0",
}  # fmt: skip
"""What one that refuses writes alone answers to the rest."""
_REFUSES_WRITES = frozenset({"READONLY", "OOM"})


class RefusingRedis(socketserver.ThreadingTCPServer):
    """Answers each command with the error of `refusal`; with none, each write with 1."""

    daemon_threads, allow_reuse_address = True, True

    def __init__(self, refusal: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.refusal = refusal
        self.refused = set[bytes]()
        """The commands that were refused."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server_address[1]}/0"

    def answer(self, command: bytes) -> bytes:
        """Return the answer to a command, without its end."""
        reads = command in _READING and (not self.refusal or self.refusal in _REFUSES_WRITES)
        if reads or not self.refusal:
            return _READING.get(command, b":1")
        self.refused.add(command)
        return b"-" + REFUSALS[self.refusal].encode()


class _Connection(socketserver.StreamRequestHandler):
    server: RefusingRedis

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client gave up
            while head := self.rfile.readline():
                parts = [self._part() for _ in range(int(head[1:]))]
                self.wfile.write(self.server.answer(parts[0].upper()) + b"\r\n")

    def _part(self) -> bytes:
        length = int(self.rfile.readline()[1:])
        return self.rfile.read(length + 2)[:-2]


@contextmanager
def refusing_redis(refusal: str) -> Iterator[RefusingRedis]:
    """Serve for as long as the block lasts."""
    with RefusingRedis(refusal) as server:
        thread = threading.Thread(target=server.serve_forever, name="redis", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(60)
