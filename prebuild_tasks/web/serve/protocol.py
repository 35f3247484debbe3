"""Answers to what is not HTTP, and so never becomes a request."""

from __future__ import annotations

import uuid

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from prebuild_tasks.web.api.problems import MEDIA_TYPE, ProblemDetails
from prebuild_tasks.web.api.request_ids import HEADER
from prebuild_tasks.web.api.responses import encoded


class ProblemProtocol(HttpToolsProtocol):
    """Tells with a problem, as every other error is told, that bytes are not a request, and closes the connection."""

    def send_400_response(self, msg: str) -> None:
        """Answer, in place of the sentence `msg` of the server."""
        details = ProblemDetails(
            status=400, code="malformed_request", detail="this is not a valid HTTP request", hint="send HTTP/1.1"
        )
        request_id = uuid.uuid4().hex
        body = encoded(details.to_json(getattr(self.config, "base", ""), request_id))
        head = [
            "HTTP/1.1 400 Bad Request", f"content-type: {MEDIA_TYPE}", f"content-length: {len(body)}",
            f"{HEADER}: {request_id}", "connection: close", "", "",
        ]  # fmt: skip
        self.transport.write("\r\n".join(head).encode("ascii") + body)
        self.transport.close()
