"""The application: every route, and what it answers to what no route was made for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from prebuild_tasks import __version__
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.logs import get_logger
from prebuild_tasks.web.api.auth import let_in
from prebuild_tasks.web.api.door import Door, DoorOptions, Limiter
from prebuild_tasks.web.api.openapi import make_document
from prebuild_tasks.web.api.operations import Operation
from prebuild_tasks.web.api.problems import ProblemDetails, problem_details
from prebuild_tasks.web.api.request_ids import RequestIds
from prebuild_tasks.web.api.responses import problem_response
from prebuild_tasks.web.api.routes import builds, claims, events, meta, pools, webhooks, workspaces
from prebuild_tasks.web.api.sequencer import number_events_until
from prebuild_tasks.web.page.entry import error_page
from prebuild_tasks.web.page.headers import PAGE
from prebuild_tasks.web.page.live import LiveViews
from prebuild_tasks.web.page.routes import PAGES, PageRoute, page_routes

log = get_logger(__name__)

OPERATIONS: tuple[Operation, ...] = (
    *claims.OPERATIONS,
    *workspaces.OPERATIONS,
    *pools.OPERATIONS,
    *builds.OPERATIONS,
    *webhooks.OPERATIONS,
    *events.OPERATIONS,
    *meta.OPERATIONS,
)
"""Every route of the API."""
_CLOSED = 499
"""The status that nobody reads, because the client went away."""


def make_app(runtime: Runtime, options: DoorOptions, limiter: Limiter | None = None) -> FastAPI:
    """Make the application of a serving process. `app.state.door` has what its requests share.

    Args:
        runtime: The dependencies of the process, which stay the caller's to close.
        options: The options that the routes need.
        limiter: Counts the requests of each token; None: they are not limited.
    """
    door = Door(runtime, options, limiter)
    door.document = make_document(OPERATIONS, door.base)
    live = LiveViews(door, PAGES)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        numbering = asyncio.create_task(number_events_until(door.stops_within, live.number_events))
        yield
        numbering.cancel()
        await door.close()

    # FastAPI's own documentation needs no token; and it reads a body before it asks for one, while the order of the
    # checks is a promise here, so the routes parse for themselves.
    app = FastAPI(
        title="prebuild", version=__version__, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
        lifespan=lifespan,
    )  # fmt: skip
    app.state.door, app.state.live = door, live
    app.router.routes.extend(_OperationRoute(door, operation) for operation in OPERATIONS)
    app.router.routes.extend(page_routes(door, live))
    app.add_exception_handler(HTTPException, _of_no_route)
    app.add_middleware(RequestIds)
    return app


class _OperationRoute(APIRoute):
    """The route of an operation. What FastAPI does around an endpoint would take a tenth of a claim."""

    def __init__(self, door: Door, operation: Operation) -> None:
        endpoint = _Endpoint(door, operation)
        super().__init__(
            operation.path, endpoint.respond, methods=[operation.method], name=operation.name, response_model=None,
            include_in_schema=False,
        )  # fmt: skip
        self.app = endpoint


class _Endpoint:
    """Answers the requests of an operation."""

    def __init__(self, door: Door, operation: Operation) -> None:
        self._door, self._operation = door, operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await self.respond(request)
        await response(scope, receive, send)

    async def respond(self, request: Request) -> Response:
        """Return the answer to a request."""
        door, operation = self._door, self._operation
        try:
            return await let_in(door, operation, request)
        except ClientDisconnect:
            return Response(status_code=_CLOSED)
        except Exception as error:
            details = problem_details(error)
            if details.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                log.exception("request_failed", route=operation.path)
            response = _answer(request, details)
            asking = getattr(request.state, "principal", None)
            call = getattr(request.state, "call", None)
            response.background = BackgroundTask(door.after_answer, asking, call and call.follow_up)
            return response
        finally:
            request.state.call = None  # each holds the other, so that only the garbage collector would find them


def _of_no_route(request: Request, error: Exception) -> Response:
    """Answer a request that no route takes."""
    headers = dict(getattr(error, "headers", None) or {})
    if getattr(error, "status_code", 404) == 405:
        route = request.scope.get("route")
        path = getattr(route, "path", "")
        methods = sorted(operation.method for operation in OPERATIONS if operation.path == path)
        allowed = {"Allow": ", ".join(methods)} if methods else headers
        detail = f"this address does not take {request.method[:20]}"
        refused = ProblemDetails(status=405, code="method_not_allowed", detail=detail, headers=allowed)
        if isinstance(route, PageRoute):
            return error_page(request.app.state.door, request, refused)
        return _answer(request, refused)
    is_of_api = request.scope["path"].startswith("/v1")
    if "text/html" in request.headers.get("accept", "") and not is_of_api:
        nothing = ProblemDetails(status=404, code="not_found", detail="there is no such page")
        return error_page(request.app.state.door, request, nothing)
    hint = f"see {request.app.state.door.base}/docs"
    nothing = ProblemDetails(status=404, code="not_found", detail="there is no such address", hint=hint)
    answered = _answer(request, nothing)
    answered.headers.update({} if is_of_api else PAGE)
    return answered


def _answer(request: Request, details: ProblemDetails) -> Response:
    return problem_response(request.app.state.door.base, details, request.state.request_id)
