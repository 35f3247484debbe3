"""Viewers of the page, by bare sockets in one thread, which tell when each pool's row came.

python -m benchmarks.floors.viewers PORT: it reads a line with the cookie and the view of each viewer as JSON, and
prints a line once all watch. Then each line of its input is answered with what came since the line before: for each row
the times at which viewers got it first, by the clock that all processes share.
"""

from __future__ import annotations

import json
import re
import resource
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode

_ROW = re.compile(rb'"id":"pool-([^"]+)"')
_RECEIVED = 1 << 20
_HEAD = "GET /live?{} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {}\r\nAccept: text/event-stream\r\n\r\n"


@dataclass
class Viewer:
    """An open page."""

    connection: socket.socket
    came: dict[bytes, float] = field(default_factory=dict)
    rest: bytes = b""
    """The end of what came, in which a row may have begun."""

    def receive(self) -> None:
        content, now = self.connection.recv(_RECEIVED), time.perf_counter()
        if not content:
            raise RuntimeError("a stream ended")
        text = self.rest + content
        last = 0
        for match in _ROW.finditer(text):
            self.came.setdefault(match[1], now)
            last = match.end()
        self.rest = text[last:][-200:]


def viewer(port: int, cookie: str, view: str) -> Viewer:
    """Return a page once it has all that it shows."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(_HEAD.format(urlencode({"view": view}), cookie).encode())
    received = b""
    while not received.endswith(b"\n\n\r\n"):
        content = connection.recv(_RECEIVED)
        received += content
        if not content or not received.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(received.decode())
    return Viewer(connection)


def main(port: int) -> None:
    """Watch until standard input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    viewers = [viewer(port, *asked) for asked in json.loads(sys.stdin.readline())]
    selector = selectors.DefaultSelector()
    for each in viewers:
        selector.register(each.connection, selectors.EVENT_READ, each)
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    _say("watching")
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                key.data.receive()
                continue
            if not sys.stdin.readline():
                return
            rows: dict[str, list[float]] = {}
            for each in viewers:
                for row, at in each.came.items():
                    rows.setdefault(row.decode(), []).append(at)
                each.came.clear()
            _say(json.dumps(rows))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
