"""Log-in by a token, or by the code of a link, and log-out.

The form of the log-in has no token of its own, because there is no session yet: its origin is checked as for all forms.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from prebuild_tasks.access import Scope
from prebuild_tasks.errors import AuthenticationError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.web.api.auth import authenticated
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.page.cookies import Cookies
from prebuild_tasks.web.page.entry import address_of, find_session, require_own_origin
from prebuild_tasks.web.page.forms import read_form
from prebuild_tasks.web.page.kinds import Form
from prebuild_tasks.web.page.origins import local_path
from prebuild_tasks.web.page.render import html_response, render_page
from prebuild_tasks.web.page.visit import LOGGED_OUT, Visit, frame_for, go_to, root_of

log = get_logger(__name__)

LOGIN = "/login"
_USED = "this link was used before, or is older than ten minutes; log in with a token"


async def show_login(door: Door, request: Request) -> Response:
    """Show the form; with the code of a link, one button, so that nothing that only fetches the link uses it up."""
    code = request.query_params.get("code", "")
    after = local_path(request.query_params.get("next", ""))
    if not code and await find_session(door, request):
        return go_to(root_of(door), after)
    return _form(door, request, after, code=code)


async def log_in(door: Door, request: Request) -> Response:
    """Begin a session, and end the one that the browser had."""
    require_own_origin(door, request)
    fields = await read_form(request)
    token, code = fields.get("token", "").strip(), fields.get("code", "")
    after = local_path(fields.get("next", ""))
    address = address_of(request)
    if door.limiter is not None and not door.tokens.was_good(token):
        door.limiter.require_patience(address)
    try:
        session_id = await (_by_code(door, code) if code else _by_token(door, token))
    except AuthenticationError as error:
        if door.limiter is not None:
            await door.limiter.count_bad(address)
        return _form(door, request, after, failed=error.message)
    cookies = Cookies(door, request)
    await _end(door, cookies.session)
    response = go_to(root_of(door), after)
    cookies.set_session(response, session_id)
    return response


async def log_out(visit: Visit) -> Response:
    """End the session, in every process."""
    await _end(visit.door, visit.session.id)
    response = go_to(root_of(visit.door), f"{LOGIN}?{urlencode({'done': LOGGED_OUT})}")
    Cookies(visit.door, visit.request).end_session(response)
    return response


async def _by_token(door: Door, token: str) -> str:
    principal = await authenticated(door, token)
    session_id = await door.in_thread(lambda: door.sessions.begin(principal.token_id))
    log.info("logged_in", token=principal.name, by="token")
    return session_id


async def _by_code(door: Door, code: str) -> str:
    session_id = await door.in_thread(lambda: door.sessions.redeem(code))
    session = await door.in_thread(lambda: door.sessions.find(session_id or ""))
    if session is None:
        raise AuthenticationError(_USED)
    log.info("logged_in", token=session.principal.name, by="code")
    return session.id


async def _end(door: Door, session_id: str) -> None:
    if session_id:
        await door.in_thread(lambda: door.sessions.end(session_id))


def _form(door: Door, request: Request, after: str, *, code: str = "", failed: str = "") -> Response:
    text = render_page("login", frame_for(door, request, None, ()), after=after, code=code, failed=failed)
    return html_response(request, text, HTTPStatus.FORBIDDEN if failed else HTTPStatus.OK)


LOG_OUT = Form(path="/logout", handle=log_out, scope=Scope.READ)
