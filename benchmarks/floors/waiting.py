"""Claims over HTTP that wait, by bare sockets in one thread, until standard input ends.

python -m benchmarks.floors.waiting PORT TOKEN PRESET NUMBER: it prints a line once all wait. A claim whose wait is
over, or for which the server was too busy, is asked for again with its key.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass

_WAIT = 55
_SETTLES = 2.0
"""Seconds in which no answer comes once all wait."""
_BETWEEN = 0.02
"""Seconds between two first requests, which all reserve a workspace of one pool."""
_AGAIN = (b"HTTP/1.1 202", b"HTTP/1.1 503")


def request_of(token: str, preset: str, number: int) -> bytes:
    """Return the request of one who waits."""
    body = json.dumps({"presets": [preset], "owner": f"waits-{number}", "wait": _WAIT})
    return (
        f"POST /v1/claims HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Idempotency-Key: waits-{number}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


@dataclass
class _Waiter:
    """One who waits."""

    connection: socket.socket
    request: bytes
    received: bytes = b""

    def answered(self) -> bool:
        """Read what has come, and return whether the answer is complete. Raises RuntimeError for an unexpected one."""
        self.received += self.connection.recv(65536)
        head, ended, body = self.received.partition(b"\r\n\r\n")
        if not head.startswith(_AGAIN):
            raise RuntimeError(self.received.decode())
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return bool(ended) and len(body) == int(length)

    def ask(self) -> None:
        """Ask, for the first time or again."""
        self.received = b""
        self.connection.sendall(self.request)


def main(port: int, token: str, preset: str, number: int) -> None:
    """Ask, and ask again whoever was answered."""
    selector = selectors.DefaultSelector()
    for position in range(number):
        waiter = _Waiter(socket.create_connection(("127.0.0.1", port)), request_of(token, preset, position))
        selector.register(waiter.connection, selectors.EVENT_READ, waiter)
        waiter.ask()
        time.sleep(_BETWEEN)
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    announced, asked_last = False, time.monotonic()
    while True:
        for key, _ in selector.select(0.5):
            if key.data is None:
                return
            if key.data.answered():
                key.data.ask()
                asked_last = time.monotonic()
        if not announced and time.monotonic() - asked_last > _SETTLES:
            announced = True
            sys.stdout.write("waiting\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
