"""Answers of the server itself to what never becomes a request. They are problems, as every other error.

Requests get a way to break their connection. Who is refused while still sending can read why.
"""

from __future__ import annotations

import asyncio
import uuid
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from prebuild_tasks.web.api.operations import CUT
from prebuild_tasks.web.api.problems import MEDIA_TYPE, ProblemDetails
from prebuild_tasks.web.api.request_ids import HEADER
from prebuild_tasks.web.api.responses import encoded
from prebuild_tasks.web.serve.lingering import LingeringTransport

_MALFORMED = ProblemDetails(
    status=400, code="malformed_request", detail="this is not a valid HTTP request", hint="send HTTP/1.1"
)


class ProblemProtocol(HttpToolsProtocol):
    """Tells with a problem that bytes are not a request, and closes the connection."""

    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        """Let the connection wait at its end for what is still being sent."""
        super().connection_made(LingeringTransport(transport, self._still_sends))

    def data_received(self, data: bytes) -> None:
        """Drop what arrives after the answer that ends the connection."""
        if not self.transport.is_closing():
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Let the application break the connection: to close it would wait for a client that takes nothing."""
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"abort": self.transport.abort}}

    def send_400_response(self, msg: str) -> None:
        """Answer, in place of the sentence `msg` of the server."""
        self.refuse(_MALFORMED)

    def refuse(self, details: ProblemDetails) -> None:
        """Answer with a problem, and close the connection."""
        self._refused = True
        request_id = uuid.uuid4().hex
        body = encoded(details.to_json(getattr(self.config, "base", ""), request_id))
        head = [
            f"HTTP/1.1 {details.status} {HTTPStatus(details.status).phrase}", f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(body)}", f"{HEADER}: {request_id}", "connection: close", "", "",
        ]  # fmt: skip
        self.transport.write("\r\n".join(head).encode("ascii") + body)
        self.transport.close()
        if self.cycle is not None:  # the rest of its body is dropped
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _still_sends(self) -> bool:
        return self._refused or (self.cycle is not None and self.cycle.more_body)
