"""A plain server of streams: ten times a second it sends an event to all who listen.

python -m benchmarks.floors.fan_out: it prints its port.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime

PER_SECOND = 10
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nid: 0\n\n"
_EVENT = {
    "kind": "paused", "pool": None, "owner": None, "workspace": None, "actor": "bench", "reason": "bench", "data": {},
}  # fmt: skip


async def serve() -> None:
    """Serve until killed."""
    writers: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_HEAD)
        writers.add(writer)
        await reader.read()
        writers.discard(writer)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2048)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    number = 0
    while True:
        await asyncio.sleep(1 / PER_SECOND)
        number += 1
        now = datetime.now(UTC)  # noqa: TID251 - a floor is free of the product
        data = json.dumps({"id": number, "at": now.isoformat(), **_EVENT})
        sent = f"id: {number}\nevent: paused\ndata: {data}\n\n".encode()
        for writer in writers:
            writer.write(sent)


if __name__ == "__main__":
    asyncio.run(serve())
