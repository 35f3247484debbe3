"""The routes of the page, which stand beside those of the API: neither sees what lets into the other one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from prebuild_tasks.logs import get_logger
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.api.problems import problem, problem_details
from prebuild_tasks.web.page import (
    actions,
    builds,
    health,
    history,
    installation_actions,
    pool,
    pools,
    report,
    waiting,
    workers,
    workspace,
    workspaces,
)
from prebuild_tasks.web.page.entry import enter, error_page
from prebuild_tasks.web.page.kinds import Form, Page
from prebuild_tasks.web.page.live import LIVE, LiveViews
from prebuild_tasks.web.page.login import LOG_OUT, LOGIN, log_in, show_login
from prebuild_tasks.web.page.render import file_response
from prebuild_tasks.web.page.visit import Visit

log = get_logger(__name__)

PAGES: tuple[Page, ...] = (
    *pools.PAGES,
    *pool.PAGES,
    *workspaces.PAGES,
    *workspace.PAGES,
    *waiting.PAGES,
    *builds.PAGES,
    *workers.PAGES,
    *history.PAGES,
    *health.PAGES,
    *report.PAGES,
)
"""Every page for who is logged in, in the order of the navigation."""
FORMS: tuple[Form, ...] = (LOG_OUT, *actions.FORMS, *installation_actions.FORMS, *workspaces.FORMS)
"""Every form of theirs."""
_NAVIGATION = tuple(page for page in PAGES if page.title)
_CLOSED = 499
"""The status that nobody reads, because the client went away."""

Respond = Callable[[Request], Awaitable[Response]]


def page_routes(door: Door, live: LiveViews) -> list[BaseRoute]:
    """Make the routes of the page."""
    login: dict[str, Respond] = {"GET": partial(show_login, door), "POST": partial(log_in, door)}
    pages = (*PAGES, Page(path=LIVE, handle=live.listen))
    routes: list[BaseRoute] = [PageRoute(door, page.path, {page.method: entering(door, page)}) for page in pages]
    routes += [PageRoute(door, form.path, {form.method: entering(door, form)}) for form in FORMS]
    return [*routes, PageRoute(door, LOGIN, login), PageRoute(door, "/static/{name}", {"GET": _file})]


class PageRoute(Route):
    """A route of the page. The access log names its path, as that of the API's routes."""

    def __init__(self, door: Door, path: str, methods: dict[str, Respond]) -> None:
        """Take what answers each method."""
        endpoint = _Endpoint(door, path, methods)
        super().__init__(path, endpoint.respond, methods=[*methods])
        self.methods = {*methods}  # without HEAD, which the server answers as GET
        self.app = endpoint

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the route takes a request, and what the request then has."""
        match, more = super().matches(scope)
        return match, more if match is Match.NONE else {**more, "route": self}


class _Endpoint:
    """Answers the requests for a path."""

    def __init__(self, door: Door, path: str, methods: dict[str, Respond]) -> None:
        self._door, self._path, self._methods = door, path, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await self.respond(request)
        await response(scope, receive, send)

    async def respond(self, request: Request) -> Response:
        """Return the answer to a request."""
        try:
            response = await self._methods[request.method](request)
        except ClientDisconnect:
            return Response(status_code=_CLOSED)
        except Exception as error:
            details = problem_details(error)
            if details.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                log.exception("request_failed", route=self._path)
            response = error_page(self._door, request, details, _NAVIGATION)
        response.background = BackgroundTask(self._after_answer, request)
        return response

    async def _after_answer(self, request: Request) -> None:
        """Send what follows from a commit, and note that the session and its token were used."""
        session, visit = getattr(request.state, "session", None), getattr(request.state, "visit", None)
        if session is None:
            return
        request.state.visit = None  # each holds the other
        await self._door.after_answer(session.principal, visit.follow_up if isinstance(visit, Visit) else None)
        if self._door.sessions.is_use_due(session):
            await self._door.in_thread(partial(self._door.sessions.note_use, session))


def entering(door: Door, page: Page, navigation: tuple[Page, ...] = _NAVIGATION) -> Respond:
    """Return what answers a page, or a form, after its checks."""

    async def respond(request: Request) -> Response:
        return await enter(door, page, request, navigation)

    return respond


async def _file(request: Request) -> Response:
    """Answer with a file that pages refer to."""
    response = file_response(request, request.path_params["name"])
    if response is None:
        raise problem(404, "not_found", "there is no such file")
    return response
