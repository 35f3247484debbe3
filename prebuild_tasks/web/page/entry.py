"""The checks that precede every page and every form: origin, session, rate, the form's token, scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from prebuild_tasks.access import Session, is_form_token
from prebuild_tasks.web.api.auth import require_scope
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.api.problems import ProblemDetails, problem
from prebuild_tasks.web.page.cookies import Cookies
from prebuild_tasks.web.page.forms import read_form
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.origins import local_path, origin_refusal, own_origin
from prebuild_tasks.web.page.render import html_response, render_page
from prebuild_tasks.web.page.visit import Visit, frame_for, go_to, root_of

FORM_TOKEN = "form_token"
"""The field that every form of a session has."""


async def enter(door: Door, page: Page, request: Request, navigation: tuple[Page, ...]) -> Response:
    """Check a request for a page, or a form, and answer it. Raises ProblemError, or what its service raises."""
    is_form = page.method == "POST"
    if is_form:
        require_own_origin(door, request)
    session = await find_session(door, request)
    if session is None:
        return _to_login(door, request, navigation if is_form else None)
    request.state.principal, request.state.session = session.principal, session
    if door.limiter is not None:
        await door.limiter.count(session.principal, claims=is_form)
    fields: Mapping[str, str] = await read_form(request) if is_form else {}
    if is_form and not is_form_token(fields.get(FORM_TOKEN, ""), session.id):
        raise problem(403, "foreign_form", "the form is not of this session", hint="load the page again, and repeat it")
    require_scope(page, session.principal)
    visit = Visit(door, request, session, fields, navigation)
    request.state.visit = visit
    return await page.handle(visit)


def require_own_origin(door: Door, request: Request) -> None:
    """Raise ProblemError (403) for a form that was not sent by a page of this address."""
    own = own_origin(door.base, request.scope["scheme"], request.headers.get("host", ""))
    if refusal := origin_refusal(request.headers, request.headers.getlist("origin"), own):
        raise problem(403, "foreign_form", refusal, hint="open the page at its own address, and use the form there")


async def find_session(door: Door, request: Request) -> Session | None:
    """Return the session of a request that goes on; without a thread if it was looked up just now.

    Raises ProblemError (429) for a session that is not known yet, from an address that has sent too many bad ones.
    """
    session_id = Cookies(door, request).session
    if not session_id:
        return None
    if known := door.sessions.remembered(session_id):
        return known
    if door.limiter is not None and not door.sessions.was_good(session_id):
        door.limiter.require_patience(address_of(request))
    session = await door.look(partial(door.sessions.find, session_id))
    if session is None and door.limiter is not None:
        await door.limiter.count_bad(address_of(request))
    return session


def address_of(request: Request) -> str:
    """Return the client's address."""
    return request.client.host if request.client else ""


def error_page(door: Door, request: Request, details: ProblemDetails, navigation: tuple[Page, ...] = ()) -> Response:
    """Return the page that tells what is wrong."""
    frame = frame_for(door, request, getattr(request.state, "session", None), navigation)
    is_passing = details.status == HTTPStatus.SERVICE_UNAVAILABLE and request.method == "GET"
    again = local_path(_address(request)) if is_passing else ""
    text = render_page("error", frame, details=details, request_id=request.state.request_id, again=again)
    response = html_response(request, text, details.status)
    response.headers.update({key: value for key, value in details.headers.items() if key != "WWW-Authenticate"})
    return response


def _address(request: Request) -> str:
    """Return the path of a request, with its query."""
    path = request.scope.get("raw_path", request.scope["path"].encode()).decode("latin-1").partition("?")[0]
    query = request.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _to_login(door: Door, request: Request, lists: Sequence[Page] | None) -> Response:
    """Lead to the log-in, and from there back to the page, or for a form to the one of the lists that it belongs to."""
    begin = "/" + request.scope["path"][1:].partition("/")[0]
    back = _address(request) if lists is None else begin if begin in {page.path for page in lists} else "/"
    response = go_to(root_of(door), "/login?" + urlencode({"next": back}))
    cookies = Cookies(door, request)
    if cookies.session:  # which has ended
        cookies.end_session(response)
    return response
