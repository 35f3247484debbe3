"""The answer that is a stream of server-sent events, which takes a place of its process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from prebuild_tasks.web.api.operations import CUT, EVENT_STREAM

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""A proxy that collected the answer first would show nothing until its end."""


def cut_of(request: Request) -> Callable[[], object]:
    """Return what breaks the connection; without a server, what cancels the task that sends."""
    if extension := (request.scope.get("extensions") or {}).get(CUT):
        abort: Callable[[], object] = extension["abort"]
        return abort
    task = asyncio.current_task()
    return task.cancel if task else bool


class StreamResponse(StreamingResponse):
    """A stream, which takes a place."""

    media_type = EVENT_STREAM

    def __init__(
        self, chunks: AsyncIterator[bytes], leave: Callable[[], None], headers: Mapping[str, str] | None = None
    ) -> None:
        """Take what is sent, what gives the place back, and further headers."""
        super().__init__(chunks, headers={**(headers or {}), **_HEADERS})
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()

    async def stream_response(self, send: Send) -> None:
        """Send the chunks."""
        try:
            await super().stream_response(send)
        finally:
            await asyncio.shield(self._close())

    async def _close(self) -> None:
        """End what makes the chunks at once, and not when the garbage collector finds it."""
        closing = getattr(self.body_iterator, "aclose", None)
        if closing:
            await closing()
