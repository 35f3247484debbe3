"""Listeners of a stream of events, by bare sockets in one thread, which tell how late events came.

python -m benchmarks.floors.listeners PORT TOKENS NUMBER: it prints a line once all listen. Then each line of its input
is answered with the delays since the line before: the number of events, and the worst p99 of a listener in seconds.
"""

from __future__ import annotations

import json
import re
import resource
import selectors
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

_AT = re.compile(rb'"at": ?"([^"]+)"')
_RECEIVED = 1 << 16


def listener(port: int, token: str) -> socket.socket:
    """Return a connection once its stream has begun."""
    connection = socket.create_connection(("127.0.0.1", port))
    lines = (
        "GET /v1/events HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {token}",
        "Accept: text/event-stream",
    )
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    head = b""
    while b"id: " not in head:
        received = connection.recv(_RECEIVED)
        head += received
        if not received or not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
    return connection


def main(port: int, tokens: Sequence[str], number: int) -> None:
    """Listen until standard input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    selector = selectors.DefaultSelector()
    delays = {listener(port, tokens[each % len(tokens)]): list[float]() for each in range(number)}
    for connection in delays:
        selector.register(connection, selectors.EVENT_READ, connection)
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    _say("listening")
    while True:
        for key, _ in selector.select():
            if key.data is None:
                if not sys.stdin.readline():
                    return
                worst = max(sorted(each)[int(0.99 * len(each))] if each else 0.0 for each in delays.values())
                _say(json.dumps([sum(map(len, delays.values())), worst]))
                for each in delays.values():
                    each.clear()
                continue
            content, now = key.data.recv(_RECEIVED), datetime.now(UTC)  # noqa: TID251 - free of the product
            if not content:
                raise RuntimeError("a stream ended")
            delays[key.data] += [
                (now - datetime.fromisoformat(at.decode())).total_seconds() for at in _AT.findall(content)
            ]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]))
