"""One line per request in the logs."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prebuild_tasks.clock import monotonic
from prebuild_tasks.logs import get_logger
from prebuild_tasks.web.serve.measures import Answered, Measures

log = get_logger(__name__)

NO_ROUTE = "(none)"
"""The route template of a request for which there is no route: its path is the client's, and not bounded."""
_QUIET = ("/livez", "/readyz", "/metrics")
"""Routes whose good answers are not logged: probes and scrapes come every few seconds."""
_SERVER_ERROR = 500


class AccessLog:
    """Log and count the answer to each request: no query, no token, no path but the route's template."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        """Take the application, and what counts its answers."""
        self._app, self._measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, object] = scope.setdefault("state", {})
        status, headers = 0, dict[bytes, bytes]()
        answered_at: float | None = None

        async def answer(message: Message) -> None:
            nonlocal status, headers, answered_at
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = {key.lower(): value for key, value in message.get("headers", ())}
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                answered_at = monotonic()  # what follows from a commit is sent after the answer

        started = monotonic()
        try:
            await self._app(scope, receive, answer)
        finally:
            answered = Answered(
                route=_route(scope),
                method=scope["method"],
                status=status or _SERVER_ERROR,
                principal=getattr(state.get("principal"), "kind", "none"),
                seconds=(answered_at or monotonic()) - started,
                headers=headers,
            )
            self._measures.add(answered)
            if answered.route not in _QUIET or answered.status >= _SERVER_ERROR:
                _log(answered, state, scope)


def _log(answered: Answered, state: Mapping[str, object], scope: Scope) -> None:
    log.info_of_many(
        "request",
        request_id=state.get("request_id", ""),
        principal=getattr(state.get("principal"), "name", ""),
        method=answered.method,
        route=answered.route,
        status=answered.status,
        ms=round(answered.seconds * 1000, 1),
        client=scope["client"][0] if scope.get("client") else "",
    )


def _route(scope: Scope) -> str:
    """Return the template of the route that answered, which the router left in the scope."""
    return getattr(scope.get("route"), "path", None) or NO_ROUTE
