"""A request of somebody who is logged in: who asks, what is asked, and the ways to answer with a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TypeVar
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from prebuild_tasks.access import Principal, Session, change_mark, form_token, read_change_mark
from prebuild_tasks.clock import utcnow
from prebuild_tasks.web.api.admitted import AdmittedRequest
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.page import headers
from prebuild_tasks.web.page.cookies import CHANGE_LASTS, Cookies
from prebuild_tasks.web.page.kinds import Page, may_open
from prebuild_tasks.web.page.render import Frame, NavigationItem, html_response, render_page, render_part

T = TypeVar("T")
LOGGED_OUT = "logged_out"
DONE: Mapping[str, str] = {
    "released": "The workspace is being deleted.",
    "extended": "The end of the workspace was moved.",
    "paused": "The pool is paused.",
    "resumed": "The pool is no longer paused.",
    "all_resumed": "The pools are no longer paused, except those that are paused by themselves.",
    "unblocked": "The pool builds again.",
    "invalidated": "The prebuilds of the pool are being replaced.",
    "turn_requested": "The pool gets its turn now.",
    "sweep_confirmed": "It is confirmed; the next sweep acts upon it.",
}
"""What a form of the session has just changed, by the value of `done` in the query of the page that follows."""
_NOT_DONE: Mapping[str, str] = {
    "not_paused": "The pool was not paused by itself, so nothing was changed.",
    "not_all_paused": "Not everything was paused, so nothing was changed.",
    "not_blocked": "The pool was not blocked, so nothing was changed.",
    "nothing_to_confirm": "Nothing waited for a confirmation.",
}
"""What is said after a form that has changed nothing, by the same value."""


class Visit(AdmittedRequest):
    """One request, after its session, its origin and its scope were checked."""

    def __init__(
        self, door: Door, request: Request, session: Session, fields: Mapping[str, str], navigation: tuple[Page, ...]
    ) -> None:
        """Take the request with its session, and the fields of its form."""
        super().__init__(door, request)
        self.session, self.fields = session, fields
        self._navigation = navigation

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return self.session.principal

    @property
    def query(self) -> Mapping[str, str]:
        """The query; of a name that it has twice, the last value."""
        return self.request.query_params

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Call a function that uses the database, in a thread."""
        return await self.door.in_thread(work, self.principal.key)

    def show(self, template: str, status: int = 200, **values: object) -> Response:
        """Answer with a page."""
        frame = frame_for(self.door, self.request, self.session, self._navigation)
        return html_response(self.request, render_page(template, frame, **values), status)

    def part(self, template: str, macro: str, *values: object) -> Response:
        """Answer with a part of a page, which the script puts into it."""
        return html_response(self.request, render_part(template, macro, *values))

    @property
    def since_change(self) -> float:
        """The seconds since a form of this session changed something, in any process; infinite: not just now."""
        return _since_change(self.door, self.request, self.session)

    def go(self, path: str, done: str, *, changed: bool = True) -> Response:
        """Answer with the way to a path of this page after a form, whose changes every page shows from now on.

        Those of other processes do for this browser, which shows them a mark of the change. `done` names what the page
        says of it.
        """
        path = f"{path}?done={done}"
        if not changed:
            return go_to(root_of(self.door), path)
        self.request.app.state.live.note_change()
        response, mark = go_to(root_of(self.door), path), change_mark(self.session.id, utcnow())
        Cookies(self.door, self.request).set_change(response, mark)
        return response


def root_of(door: Door) -> str:
    """Return what begins every path in a browser: the path of the public URL."""
    return urlsplit(door.base).path


def go_to(root: str, path: str) -> Response:
    """Return the answer that leads a browser to another page, by GET."""
    return Response(status_code=303, headers={**headers.PAGE, "Location": root + path})


def frame_for(door: Door, request: Request, session: Session | None, navigation: Sequence[Page]) -> Frame:
    """Return what surrounds a page."""
    path, done = request.scope["path"], request.query_params.get("done", "")
    if session is None:
        return Frame(root=root_of(door), flash="You are logged out." if done == LOGGED_OUT else "")
    flash = _NOT_DONE.get(done, "")
    if done in DONE and _since_change(door, request, session) < inf:
        flash = DONE[done]  # of itself, an address says nothing
    shown = [page for page in navigation if may_open(page, session)]
    items = [NavigationItem(page.title, page.path, _is_within(path, page.path)) for page in shown]
    principal = session.principal
    return Frame(
        root=root_of(door), flash=flash, who=principal.name, scope=principal.scope.value,
        form_token=form_token(session.id), navigation=items,
    )  # fmt: skip


def _since_change(door: Door, request: Request, session: Session) -> float:
    at = read_change_mark(Cookies(door, request).change, session.id)
    age = (utcnow() - at).total_seconds() if at else inf
    return max(age, 0.0) if age <= CHANGE_LASTS else inf


def _is_within(path: str, page: str) -> bool:
    return path == page or path.startswith(f"{page}/") or (path == "/" and page == "/pools")
