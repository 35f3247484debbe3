"""Answers of the server itself to what never becomes a request. They are problems, as every other error.

Requests get a way to break their connection.
"""

from __future__ import annotations

import uuid
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from prebuild_tasks.web.api.operations import CUT
from prebuild_tasks.web.api.problems import MEDIA_TYPE, ProblemDetails
from prebuild_tasks.web.api.request_ids import HEADER
from prebuild_tasks.web.api.responses import encoded

_MALFORMED = ProblemDetails(
    status=400, code="malformed_request", detail="this is not a valid HTTP request", hint="send HTTP/1.1"
)


class ProblemProtocol(HttpToolsProtocol):
    """Tells with a problem that bytes are not a request, and closes the connection."""

    def on_message_begin(self) -> None:
        """Let the application break the connection: to close it would wait for a client that takes nothing."""
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"abort": self.transport.abort}}

    def send_400_response(self, msg: str) -> None:
        """Answer, in place of the sentence `msg` of the server."""
        self.refuse(_MALFORMED)

    def refuse(self, details: ProblemDetails) -> None:
        """Answer with a problem, and close the connection."""
        request_id = uuid.uuid4().hex
        body = encoded(details.to_json(getattr(self.config, "base", ""), request_id))
        head = [
            f"HTTP/1.1 {details.status} {HTTPStatus(details.status).phrase}", f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(body)}", f"{HEADER}: {request_id}", "connection: close", "", "",
        ]  # fmt: skip
        self.transport.write("\r\n".join(head).encode("ascii") + body)
        self.transport.close()
