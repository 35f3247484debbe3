"""Connections that are closed only after what their clients still send.

Bytes that arrive at a closed connection reset it, and a client whose connection is reset does not read the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LINGER = 5.0
"""Seconds for which the rest of a request is read and dropped."""


class LingeringTransport(asyncio.Transport):
    """Closes a connection whose client still sends in two steps: first for what is written, later for what is read."""

    def __init__(self, transport: asyncio.Transport, still_sends: Callable[[], bool]) -> None:
        """Wrap a transport. `still_sends` tells whether a part of the request has not arrived."""
        super().__init__()
        self._transport, self._still_sends, self._lingers = transport, still_sends, False

    def close(self) -> None:
        """Close the connection, for writing alone while its client sends. Closes it wholly the second time."""
        if self._lingers or self._transport.is_closing() or not self._still_sends():
            self._transport.close()
            return
        self._lingers = True
        if self._transport.can_write_eof():  # not over TLS, where the answer has to tell its end
            self._transport.write_eof()
        self._transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER, self._transport.close)

    def is_closing(self) -> bool:
        """Return whether nothing is written any more, and whatever arrives is to be dropped."""
        return self._lingers or self._transport.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, if the connection is open."""
        if not self._lingers:
            self._transport.write(data)

    def abort(self) -> None:
        """Reset the connection."""
        self._transport.abort()

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return what the transport knows."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Leave in the socket what arrives."""
        if not self._lingers:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take what arrives."""
        self._transport.resume_reading()
