"""The end of a serving process: it says that it is not ready, ends waits, and goes on answering for a moment."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prebuild_tasks.logs import get_logger

log = get_logger(__name__)

GRACE = 4
"""Seconds that requests get to end once no more are taken. With `DRAIN_MAX`, that stays below ten."""
_LAST = 9.0
"""Seconds after which a process ends even if a thread of it still waits for an answer."""
_ORPHAN_CHECK = 1.0
"""Seconds."""

Handler = Callable[[int, FrameType | None], object]


class Stopper:
    """Ends a process gracefully on SIGTERM and SIGINT; at once on a second signal."""

    def __init__(self, stopping: asyncio.Event, exit_server: Handler, drain: float) -> None:
        """Take what tells the routes that the process is about to stop, and what ends the server after that.

        For `drain` seconds in between, requests are still taken, while `/readyz` tells load balancers to send no more.
        """
        self._stopping, self._exit, self._drain = stopping, exit_server, drain
        self._loop = asyncio.get_running_loop()

    def install(self) -> None:
        """Take the signals over from the server."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def watch_parent(self, parent: int) -> None:
        """End this process once its parent is gone: nobody would end or restart it any more."""
        if os.getppid() != parent:
            log.warning("parent_is_gone", parent=parent)
            self.begin(signal.SIGTERM)
            return
        self._loop.call_later(_ORPHAN_CHECK, self.watch_parent, parent)

    def begin(self, number: int) -> None:
        """Begin to stop, or stop at once if that has begun."""
        if self._stopping.is_set():
            self._exit(number, None)
            return
        log.info("stopping", drain_s=self._drain)
        self._stopping.set()
        last = threading.Timer(_LAST, os._exit, (1,))
        last.daemon = True
        last.start()
        self._loop.call_later(self._drain, self._exit, number, None)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self.begin, number)


class Leaving:
    """Close connections with their answers once the process is about to stop, so that no request is sent too late."""

    def __init__(self, app: ASGIApp, stopping: asyncio.Event) -> None:
        """Take the application, and what tells that the process is about to stop."""
        self._app, self._stopping = app, stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and self._stopping.is_set():
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, answer if scope["type"] == "http" else send)
