"""The history as an audit view: who did what, when and why, newest first."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from starlette.responses import Response

from prebuild_tasks.events import Listener
from prebuild_tasks.insight import AuditFilter, StoredEvent, list_audit
from prebuild_tasks.model.event_kinds import CLAIMED, KINDS
from prebuild_tasks.web.api.lists import Sort
from prebuild_tasks.web.api.models import Name, PageQuery
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.listing import PAGE_FIELDS, ListedPage, Order, list_page, list_parts
from prebuild_tasks.web.page.live import read_live, show_live, viewer_of
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer, ViewRead
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.values import read_values
from prebuild_tasks.web.page.visit import Visit

_ORDER: Order[StoredEvent, int] = Order(Sort("audit", 1), lambda row: (row.id,), lambda at: int(at[0]))


class HistoryQuery(PageQuery):
    """The page and the filters of the history."""

    workspace: Name = ""
    preset: Name = ""
    who: Name = ""
    event: Name = ""


async def show_history(visit: Visit) -> Response:
    """Show the events within reach."""
    listing = await read_live(visit, HISTORY)
    query = _query(viewer_of(visit, HISTORY))
    return show_live(
        visit, HISTORY, listing, "history",
        changes=listing.is_first, shown=query, events=sorted({CLAIMED, *KINDS}),
    )  # fmt: skip


async def _read(look: ViewRead) -> ListedPage[StoredEvent]:
    query, database, listener = _query(look.viewer), look.door.runtime.database, Listener.of(look.viewer)
    wanted = AuditFilter(workspace=query.workspace, preset=query.preset, who=query.who, event=query.event)
    return await list_page(
        look, query, _ORDER, lambda start, limit: list_audit(database, listener, wanted, start, limit)
    )


def _parts(listing: ListedPage[StoredEvent], viewer: Viewer) -> Sequence[Part]:
    return list_parts("history", listing, lambda row: f"event-{row.id}", _query(viewer))


def _subject(viewer: Viewer) -> Hashable:
    return Listener.of(viewer), viewer.fields


def _query(viewer: Viewer) -> HistoryQuery:
    return read_values(HistoryQuery, dict(viewer.fields))


_FIELDS = ("workspace", "preset", "who", "event", *PAGE_FIELDS)
HISTORY = LiveKind(name="history", read=_read, parts=_parts, fields=_FIELDS, subject=_subject)
PAGES = (Page(path="/history", handle=show_history, title="History", live=HISTORY),)
