"""Bounds on the head of a request, in size and in time: it is read before anybody can look at a token."""

from __future__ import annotations

import asyncio

from prebuild_tasks.web.api.problems import ProblemDetails
from prebuild_tasks.web.serve.protocol import ProblemProtocol

HEAD_MAX = 64 * 1024
"""Bytes of the request line and the headers together."""
HEAD_TIMEOUT = 10.0
"""Seconds within which they must arrive."""
_TOO_LARGE = ProblemDetails(
    status=431,
    code="head_too_large",
    detail=f"the address and the headers of a request may have {HEAD_MAX} bytes together",
    hint="send fewer headers",
)
_TOO_SLOW = ProblemDetails(
    status=408,
    code="head_too_slow",
    detail=f"the headers of a request have to arrive within {HEAD_TIMEOUT:g} s",
    hint="repeat the request",
)


class BoundedHeads(ProblemProtocol):
    """Refuses a request whose head is too large or too slow, and closes its connection."""

    _in_head, _size = True, 0
    """Whether a head is awaited or arriving, and how many of its bytes have arrived."""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        """Await the first head."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Await nothing any more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what belongs to a head only as far as it may go."""
        while data and self._in_head and not self.transport.is_closing():
            room = HEAD_MAX - self._size
            if room <= 0:
                self._refuse(_TOO_LARGE)
                return
            piece, data = data[:room], data[room:]
            self._size += len(piece)
            super().data_received(piece)
        if data and not self.transport.is_closing():
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        self._start_timer()

    def on_headers_complete(self) -> None:
        """Note that a head has ended."""
        self._stop_timer()
        self._in_head, self._size = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that what comes next is another head. It is timed from its first byte."""
        self._in_head = True
        super().on_message_complete()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(HEAD_TIMEOUT, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self._is_answering():  # the head is that of the next request
            self._start_timer()
        elif self._size:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, details: ProblemDetails) -> None:
        if self._is_answering():
            self.transport.close()
        else:
            self.refuse(details)
