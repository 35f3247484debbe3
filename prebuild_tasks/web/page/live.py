"""The stream of the page: what changes on a page while it is open, for who is logged in."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import QueryParams
from starlette.responses import Response

from prebuild_tasks.access import Principal, form_token, session_mark
from prebuild_tasks.clock import monotonic
from prebuild_tasks.web.api.auth import require_scope
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.api.open_streams import OpenStream, OpenStreams
from prebuild_tasks.web.api.operations import EVENT_STREAM
from prebuild_tasks.web.api.problems import ProblemError, problem
from prebuild_tasks.web.api.stream_response import StreamResponse, cut_of
from prebuild_tasks.web.page import headers, shared_views
from prebuild_tasks.web.page.entry import find_session
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.live_kinds import AnyKind, LiveKind, Viewer, ViewRead
from prebuild_tasks.web.page.parts import Shown, stale_message
from prebuild_tasks.web.page.shared_views import RecentStates, SharedView, Watcher
from prebuild_tasks.web.page.visit import Visit

LIVE = "/live"
VIEWS_MAX, STATES_MAX = 12, 48
"""The most views of a stream, and states of their pages."""
VIEWS_PER_TOKEN = 60
"""The most different views that a process keeps up to date for all pages of a token: searches differ by their text."""
TRY_AGAIN = 5.0
"""The fewest seconds after which a view that was refused is tried again. A stream is never silent for long."""
BEHIND_MAX = 10
"""Changes for each of these that a page may be behind. Its stream ends then, and it comes back."""
_POOLS = "kind=pools"
"""The name of the view of all pools."""
_TOKEN = 'name="form_token" value="{}"'
"""As the macro `form_token` has it. No text of a page can be like it, because its quotes are escaped."""
_NO_TOKEN = _TOKEN.format("")
_BEAT = b"event: beat\ndata:\n\n"
"""Tells a page that its stream lives."""
_OVER = b"event: over\ndata:\n\n"
"""Tells a page that its session has ended, so that the browser does not ask again."""

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class LiveContent:
    """The parts of a page as it is sent first, and where its changes are to be had."""

    shown: Shown
    query: str
    """Follows `/live?`; empty: the page stays as it is."""
    form_token: str = ""
    """That of the session. All who see the same share the parts, whose forms have none."""

    @property
    def parts(self) -> Sequence[str]:
        """The ids of the parts, in order."""
        return [part.id for part in self.shown.parts]

    def within(self, parent: str) -> str:
        """Return the HTML of the parts of a list."""
        return self._own(self.shown.within(parent))

    def html_of(self, part_id: str) -> str:
        """Return the HTML of a part; empty: the viewer has none of this id."""
        return self._own("".join(part.html for part in self.shown.parts if part.id == part_id))

    def _own(self, html: str) -> str:
        return html.replace(_NO_TOKEN, _TOKEN.format(self.form_token))


class ViewBudgets:
    """Counts the different views that the open pages of each token show: each of them has to be computed."""

    def __init__(self) -> None:
        """Begin without any."""
        self._of = defaultdict[str, Counter[str]](Counter)

    @contextmanager
    def spent(self, token: str, view: str) -> Iterator[None]:
        """Count a view of a token for as long as the block lasts. Raises ProblemError (429) for one too many."""
        views = self._of[token]
        if view not in views and len(views) >= VIEWS_PER_TOKEN:
            detail = f"the open pages of this token show {VIEWS_PER_TOKEN} different views already"
            raise problem(429, "too_many_streams", detail, hint="close some of them")
        views[view] += 1
        try:
            yield
        finally:
            views[view] -= 1
            if not views[view]:
                del views[view]
            if not views:
                self._of.pop(token, None)


class LiveViews(OpenStreams[str, OpenStream]):
    """The views of one process that are looked at, and the streams of their open pages, by session."""

    def __init__(self, door: Door, pages: Sequence[Page]) -> None:
        """Take the pages, some of which are live."""
        super().__init__(door.stopping)
        self._door = door
        self._pages: Mapping[str, tuple[Page, AnyKind]] = {
            page.live.name: (page, page.live) for page in pages if page.live
        }
        self._views = dict[tuple[str, Hashable], SharedView[Any]]()
        self._recent, self._budgets = RecentStates(), ViewBudgets()
        self._newest, self._changed_at = 0, -math.inf

    async def number_events(self) -> None:
        """Give all events numbers that are committed by now, and let the views be read that they may have changed."""
        self._views = {key: view for key, view in self._views.items() if view.is_in_use}
        await self._door.number_events()
        if self._views and (newest := await self._door.newest_event()) != self._newest:
            self._newest = newest
            self._wake()

    def note_change(self) -> None:
        """Let what was read before now be shown to nobody who asks from now on: something was changed by a form."""
        self._changed_at = monotonic()
        self._wake()

    def _wake(self) -> None:
        for view in self._views.values():
            view.wake()

    async def read(self, visit: Visit, kind: LiveKind[V]) -> V:
        """Return a view for a visit: as it is kept up to date for open pages, or was read within the last second."""
        now, view = monotonic(), self._view(kind, viewer_of(visit, kind))
        since = -math.inf if view.is_up_to_date else now - shared_views.REST
        return await view.current(max(since, self._changed_at, now - visit.since_change), visit.principal.key)

    def seen(self, kind: LiveKind[V], viewer: Viewer, view: V) -> Shown:
        """Return what a viewer sees of a view that was read just now."""
        return self._view(kind, viewer).seen(viewer, view)

    async def listen(self, visit: Visit) -> Response:
        """Answer with the changes of views: `/live?session=MARK`, with `view=NAME&shown=STATE` for each of them."""
        asked = asked_views(visit.request.query_params)
        if visit.query.get("session", mark := session_mark(visit.session.id)) != mark:  # the browser has logged in anew
            return Response(_OVER, headers=headers.PAGE, media_type=EVENT_STREAM)
        places, token = visit.door.places, visit.principal.key
        key = f"session {mark}"  # no token has a space in its name
        places.take(key, "this session", token)
        # Nothing is awaited from here until the response is sent, which gives the place back.
        return StreamResponse(self._chunks(visit, asked), lambda: places.leave(key, token), headers.PAGE)

    async def _chunks(self, visit: Visit, asked: Mapping[str, Collection[str]]) -> AsyncIterator[bytes]:
        door, mark = visit.door, session_mark(visit.session.id)
        stream = OpenStream(cut=cut_of(visit.request), behind_max=BEHIND_MAX * sum(map(len, asked.values())))
        until = door.session_watch.unless_ended(visit.session.id, door.stopping.wait())
        following = self._follow(mark, stream, self._changes(visit, asked, stream), until)
        async with aclosing(following) as chunks:
            async for chunk in chunks:
                yield chunk
        if not door.stopping.is_set() and not await find_session(door, visit.request):
            yield _OVER

    async def _changes(
        self, visit: Visit, asked: Mapping[str, Collection[str]], stream: OpenStream
    ) -> AsyncIterator[bytes]:
        """Yield the changes of all views. One that is refused keeps none of the others, and is tried again."""
        self._enter(session_mark(visit.session.id), stream)
        with ExitStack() as stack:
            refused, tried_at = self._join(visit, asked, stream, stack), monotonic()
            for name, why in refused.items():
                stream.add(stale_message(name, None, why), 1)
            async for chunk in stream.coming():
                yield chunk
                if refused and monotonic() - tried_at > TRY_AGAIN:
                    left = {name: asked[name] for name in refused}
                    refused, tried_at = self._join(visit, left, stream, stack), monotonic()

    def _join(
        self, visit: Visit, asked: Mapping[str, Collection[str]], stream: OpenStream, stack: ExitStack
    ) -> Mapping[str, str]:
        """Let a stream have the changes of views until the stack ends. Returns why some of them are refused."""
        refused = dict[str, str]()
        for name, states in asked.items():
            try:
                kind, viewer = self._find(visit.principal, name)
                stack.enter_context(self._budgets.spent(visit.principal.key, kind.view_name(viewer)))
            except ProblemError as error:
                refused[name] = error.details.detail
                continue
            view, watcher = self._view(kind, viewer), Watcher(stream, states)
            view.join(viewer, watcher)
            stack.callback(view.leave, viewer, watcher)
        return refused

    def _heartbeat(self, _listener: OpenStream) -> bytes:
        return _BEAT  # no script hears a comment, and a connection may be silent because it is broken

    def _find(self, principal: Principal, name: str) -> tuple[AnyKind, Viewer]:
        """Return the view of a name for a principal. Raises ProblemError if there is none, or not for this one."""
        fields = dict(parse_qsl(name))
        page, kind = self._pages.get(fields.get("kind", ""), (None, None))
        if page is None or kind is None:
            raise problem(404, "not_found", "there is no such view")
        require_scope(page, principal)
        return kind, kind.viewer(principal, fields)

    def _view(self, kind: LiveKind[V], viewer: Viewer) -> SharedView[V]:
        """Return the view that a viewer looks at, together with all whose subject is the same."""
        key = (kind.name, kind.subject(viewer))

        async def read(reader: str) -> V:
            return await kind.read(ViewRead(self._door, viewer, reader))

        if key not in self._views:
            self._views[key] = SharedView(kind, read, self._recent)
        return self._views[key]


def asked_views(query: QueryParams) -> Mapping[str, Collection[str]]:
    """Return the names of the views that a stream is asked for, each with the states that its pages have.

    Without a name it is the table of pools. Raises ProblemError (400) for too many.
    """
    names, states = query.getlist("view") or [_POOLS], query.getlist("shown")
    asked = dict[str, dict[str, None]]()
    for name, state in zip_longest(names, states[: len(names)], fillvalue=""):
        asked.setdefault(name, {})[state] = None
    if len(asked) > VIEWS_MAX or len(names) > STATES_MAX:
        detail = f"a stream is of at most {VIEWS_MAX} views, with at most {STATES_MAX} states"
        raise problem(400, "malformed_query", detail, hint="load the page again")
    return asked


def viewer_of(visit: Visit, kind: LiveKind[V]) -> Viewer:
    """Return the viewer that a visit of a page, or of its stream, is."""
    query = {name: value.strip() for name, value in visit.query.items()}
    return kind.viewer(visit.principal, query | dict(visit.names))


async def read_live(visit: Visit, kind: LiveKind[V]) -> V:
    """Return the view that a page shows: one read is for all who look at the same at the time."""
    return await _views_of(visit).read(visit, kind)


def show_live(
    visit: Visit, kind: LiveKind[V], view: V, template: str, *, changes: bool = True, **values: object
) -> Response:
    """Answer with a page that changes while it is open, unless told that it does not.

    Its template has the parts by `live`.
    """
    viewer = viewer_of(visit, kind)
    shown, query = _views_of(visit).seen(kind, viewer, view), ""
    if changes:
        mark = session_mark(visit.session.id)
        query = urlencode([("session", mark), ("view", kind.view_name(viewer)), ("shown", shown.state)])
    live = LiveContent(shown, query, form_token(visit.session.id))
    return visit.show(template, 200, live=live, **values)


def _views_of(visit: Visit) -> LiveViews:
    views: LiveViews = visit.request.app.state.live
    return views
