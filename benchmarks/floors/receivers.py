"""Receivers of webhooks, each on a port of its own in one thread: the first one hangs, and the others answer at once.

python -m benchmarks.floors.receivers NUMBER: it prints their ports. Then each line of its input, a number of deliveries
that each of the others shall have had since the line before, is answered once they have, by the worst p99 of one of
them: the seconds from an event to its delivery.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

_ANSWER = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


class Receiver:
    """One of them, and the delays of what it got."""

    def __init__(self, *, hangs: bool) -> None:
        self.delays: list[float] = []
        self._hangs = hangs

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request, and answer it."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = json.loads(await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0])))
        now = datetime.now(UTC)  # noqa: TID251 - free of the product
        self.delays.append((now - datetime.fromisoformat(body["timestamp"])).total_seconds())
        if self._hangs:
            await reader.read()  # until the sender gives up
        else:
            writer.write(_ANSWER)
        writer.close()


async def serve(number: int) -> None:
    """Serve until standard input ends."""
    receivers = [Receiver(hangs=position == 0) for position in range(number)]
    servers = [await asyncio.start_server(each.answer, "127.0.0.1", 0) for each in receivers]
    _say([server.sockets[0].getsockname()[1] for server in servers])
    while line := await asyncio.to_thread(sys.stdin.readline):
        _say(await _worst(receivers[1:], int(line)))


async def _worst(receivers: Sequence[Receiver], deliveries: int) -> float:
    while any(len(each.delays) < deliveries for each in receivers):
        await asyncio.sleep(0.01)
    worst = max((sorted(each.delays)[int(0.99 * deliveries)] for each in receivers if deliveries), default=0.0)
    for each in receivers:
        each.delays.clear()
    return worst


def _say(answer: object) -> None:
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
