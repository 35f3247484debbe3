"""The stream of the page: what changes on a page while it is open, for who is logged in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.responses import Response

from prebuild_tasks.access import form_token, session_mark
from prebuild_tasks.web.api.auth import require_scope
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.api.operations import EVENT_STREAM
from prebuild_tasks.web.api.problems import problem
from prebuild_tasks.web.api.stream_response import StreamResponse, cut_of
from prebuild_tasks.web.page import headers
from prebuild_tasks.web.page.entry import find_session
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.live_kinds import AnyKind, LiveKind, Viewer, ViewRead
from prebuild_tasks.web.page.parts import Shown
from prebuild_tasks.web.page.shared_views import RecentStates, SharedView
from prebuild_tasks.web.page.visit import Visit

LIVE = "/live"
_LAST_EVENT_ID = "last-event-id"
_TOKEN = 'name="form_token" value="{}"'
"""As the macro `form_token` has it. No text of a page can be like it, because its quotes are escaped."""
_NO_TOKEN = _TOKEN.format("")
_OVER = b"event: over\ndata:\n\n"
"""Tells a page that its session has ended, so that the browser does not ask again."""
_READER = "live"
"""The key of the reads, so that they take no viewer's threads."""


V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class LiveContent:
    """The parts of a page as it is sent first, and where its changes are to be had."""

    shown: Shown
    query: str
    """Follows `/live?`; empty: the page stays as it is."""
    form_token: str = ""
    """That of the session. All who see the same share the parts, whose forms have none."""

    def within(self, parent: str) -> str:
        """Return the HTML of the parts of a list."""
        return self._own(self.shown.within(parent))

    def html_of(self, part_id: str) -> str:
        """Return the HTML of a part; empty: the viewer has none of this id."""
        return self._own("".join(part.html for part in self.shown.parts if part.id == part_id))

    def _own(self, html: str) -> str:
        return html.replace(_NO_TOKEN, _TOKEN.format(self.form_token))


class LiveViews:
    """The views of one process that are watched at present."""

    def __init__(self, door: Door, pages: Sequence[Page]) -> None:
        """Take the pages, some of which are live."""
        self._door = door
        self._pages: Mapping[str, tuple[Page, AnyKind]] = {
            page.live.name: (page, page.live) for page in pages if page.live
        }
        self._views = dict[tuple[str, Hashable], SharedView[Any]]()
        self.recent = RecentStates()
        self._newest = 0

    async def number_events(self) -> None:
        """Give all events numbers that are committed by now, and let the views be read that they may have changed."""
        await self._door.number_events()
        self._views = {key: view for key, view in self._views.items() if view.is_watched}
        if self._views and (newest := await self._door.newest_event()) != self._newest:
            self._newest = newest
            for view in self._views.values():
                view.wake()

    async def listen(self, visit: Visit) -> Response:
        """Answer with the changes of a page: `/live?kind=KIND`, with the page's query and the state that it shows."""
        page, kind = self._pages.get(visit.query.get("kind", ""), (None, None))
        if page is None or kind is None:
            raise problem(404, "not_found", "there is no such view", hint=f"the views are {', '.join(self._pages)}")
        require_scope(page, visit.principal)
        if visit.query.get("session", mark := session_mark(visit.session.id)) != mark:  # the browser has logged in anew
            return Response(_OVER, headers=headers.PAGE, media_type=EVENT_STREAM)
        viewer = viewer_of(visit, kind)
        await self._view(kind, viewer).check(viewer)
        places, key = visit.door.places, f"session {mark}"  # no token has a space in its name
        places.take(key, "this session")
        # Nothing is awaited from here until the response is sent, which gives the place back.
        return StreamResponse(self._chunks(visit, kind, viewer), lambda: places.leave(key), headers.PAGE)

    async def _chunks(self, visit: Visit, kind: AnyKind, viewer: Viewer) -> AsyncIterator[bytes]:
        door, state = visit.door, visit.request.headers.get(_LAST_EVENT_ID, "") or visit.query.get("shown", "")
        until = door.session_watch.unless_ended(visit.session.id, door.stopping.wait())
        listening = self._view(kind, viewer).listen(viewer, state, until, cut_of(visit.request))
        async with aclosing(listening) as chunks:
            async for chunk in chunks:
                yield chunk
        if not door.stopping.is_set() and not await find_session(door, visit.request):
            yield _OVER

    def _view(self, kind: LiveKind[V], viewer: Viewer) -> SharedView[V]:
        """Return the view that a viewer watches, together with all whose subject is the same."""
        look, key = ViewRead(self._door, viewer, _READER), (kind.name, kind.subject(viewer))

        async def read() -> V:
            return await kind.read(look)

        return self._views.setdefault(key, SharedView(kind, read, self.recent, self._door.stopping))


def viewer_of(visit: Visit, kind: LiveKind[V]) -> Viewer:
    """Return the viewer that a visit of a page, or of its stream, is."""
    return kind.viewer(visit.principal, {**visit.query, **visit.names})


async def read_live(visit: Visit, kind: LiveKind[V]) -> V:
    """Read the view that a page shows."""
    return await kind.read(ViewRead(visit.door, viewer_of(visit, kind), visit.principal.key))


def show_live(
    visit: Visit, kind: LiveKind[V], view: V, template: str, *, changes: bool = True, **values: object
) -> Response:
    """Answer with a page that changes while it is open, unless told that it does not.

    Its template has the parts by `live`.
    """
    viewer = viewer_of(visit, kind)
    views: LiveViews = visit.request.app.state.live
    shown, query = Shown(tuple(kind.parts(view, viewer))), ""
    if changes:
        mark, state = session_mark(visit.session.id), views.recent.keep(shown).state
        query = urlencode([("kind", kind.name), *viewer.fields, ("session", mark), ("shown", state)])
    live = LiveContent(shown, query, form_token(visit.session.id))
    return visit.show(template, 200, live=live, **values)
