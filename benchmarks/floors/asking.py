"""Claims over HTTP by bare sockets, so that the clients take as little of the machine as they can."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Callable


def claims(port: str, token: str, preset: str) -> Callable[[str], object]:
    """Claim for an owner and with a key of its own each time, over one connection per thread."""
    connected = _PerThread(int(port))

    def claim(who: str) -> object:
        body = json.dumps({"presets": [preset], "owner": f"o-{who}"})
        head = (
            f"POST /v1/claims HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
            f"Idempotency-Key: {uuid.uuid4()}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return exchange(connected.get(), (head + body).encode(), b"201")

    return claim


def exchange(connection: socket.socket, request: bytes, status: bytes) -> bytes:
    """Send a request and return its answer's body. Raises RuntimeError for another status."""
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lower = head.lower()
    length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += _some(connection)
    if head.split(b" ", 2)[1] != status:
        raise RuntimeError(received.decode())
    return body


def _some(connection: socket.socket) -> bytes:
    if not (some := connection.recv(65536)):
        raise RuntimeError("the server has closed the connection")
    return some


class _PerThread(threading.local):
    """Gives every thread its own connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: socket.socket | None = None

    def get(self) -> socket.socket:
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self._port))
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connection
