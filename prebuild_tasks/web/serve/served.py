"""The application of a serving process: the routes, and what stands before them."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import AuthenticationError, PrebuildError
from prebuild_tasks.web.api.app import OPERATIONS, make_app
from prebuild_tasks.web.api.auth import authenticated, is_open
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.api.problems import MEDIA_TYPE, ProblemDetails, ProblemError
from prebuild_tasks.web.api.request_ids import RequestIds
from prebuild_tasks.web.api.responses import encoded
from prebuild_tasks.web.serve.access_log import AccessLog
from prebuild_tasks.web.serve.measures import Measures
from prebuild_tasks.web.serve.options import ServeOptions
from prebuild_tasks.web.serve.proxies import Proxies
from prebuild_tasks.web.serve.rate import RateLimits, network_of
from prebuild_tasks.web.serve.refusals import Refusal
from prebuild_tasks.web.serve.run import Served

_UNAUTHENTICATED = 401
_LOOK_AT_GAUGES = 1.0
"""Seconds between two looks at how many connections are in use, and streams open."""


def make_served(settings: Settings, options: ServeOptions) -> Served:
    """Make what a process serves, in that process and in the event loop that serves it."""
    measures = Measures()
    limits = RateLimits(options.rate, options.burst, settings.resolved_redis_url, settings.namespace)
    runtime = Runtime(settings)
    app = make_app(runtime, options, limits)
    door: Door = app.state.door
    door.more_metrics = measures.render
    refusals = Refusals(door.base)
    guarded = Proxies(BadTokens(app, door, limits, refusals), options, refusals)
    app.state.gauges = asyncio.create_task(_keep_gauges(measures, door))
    return Served(AccessLog(HeadAsGet(guarded), measures), door.stopping, runtime.close)


async def _keep_gauges(measures: Measures, door: Door) -> None:
    """Set the gauges of a process every second, because no request of one that hangs ends, and any may be asked."""
    while not await door.stops_within(_LOOK_AT_GAUGES):
        measures.set_open(connections=door.in_use, waiting=door.waiting, streams=door.places.taken)


class HeadAsGet:
    """Answer HEAD as GET, without the body: balancers probe with it."""

    def __init__(self, app: ASGIApp) -> None:
        """Take the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        asked: Scope = {**scope, "method": "GET"}

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            await self._app(asked, receive, send_head)
        finally:
            if "route" in asked:  # the access log names its template
                scope["route"] = asked["route"]


class Refusals:
    """Answers requests that no route has seen."""

    def __init__(self, base: str) -> None:
        """Take what begins every link."""
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
        """Send the answer."""
        details = ProblemDetails(
            status=refusal.status, code=refusal.code, detail=refusal.detail, hint=refusal.hint, headers=refusal.headers
        )

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            body = encoded(details.to_json(self._base, Request(scope).state.request_id))
            await Response(body, details.status, dict(details.headers), MEDIA_TYPE)(scope, receive, send)

        await RequestIds(app)(scope, receive, send)


class BadTokens:
    """Count the bad tokens of each address, and refuse those of one that has sent too many.

    Its good tokens go on, as others may share the address: an unknown token is looked up all the same, but one at a
    time for each address. Routes that need no token are answered whatever is presented.
    """

    def __init__(self, app: ASGIApp, door: Door, limits: RateLimits, refuse: Refusals) -> None:
        """Take the application and its tokens, what counts, and what answers a refusal."""
        self._app, self._door, self._limits, self._refuse = app, door, limits, refuse
        self._open = {operation.path for operation in OPERATIONS if is_open(operation, door.options)}
        self._looking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Held while a token of an address that has sent too many bad ones is looked up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        token = _token(scope) if scope["type"] == "http" and scope["path"] not in self._open else ""
        if not token:
            await self._app(scope, receive, send)
            return
        address = scope["client"][0] if scope.get("client") else ""
        try:
            self._limits.require_patience(address)
        except ProblemError as error:
            if not await self._may_be_good(token, address):
                why = error.details
                refusal = Refusal(why.status, why.code, why.detail, why.hint, why.headers)
                await self._refuse(scope, receive, send, refusal)
                return
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._app(scope, receive, watch)
        if status == _UNAUTHENTICATED:
            await self._limits.count_bad(address)

    async def _may_be_good(self, token: str, address: str) -> bool:
        """Return whether the token is good, or the database cannot tell, which the application then answers."""
        tokens = self._door.tokens
        if tokens.was_good(token):
            return True
        async with self._looking.setdefault(network_of(address), asyncio.Lock()):
            try:
                await authenticated(self._door, token)
            except AuthenticationError:
                return False
            except PrebuildError:
                return True
        return True


def _token(scope: Scope) -> str:
    """Return the token that a request presents, however badly; empty: it has none."""
    sent: list[str] = [value.decode("latin-1") for key, value in scope["headers"] if key == b"authorization"]
    return sent[0].partition(" ")[2].strip() if sent else ""
