"""The history as an audit view: who did what, when and why, newest first."""

from __future__ import annotations

from starlette.responses import Response

from prebuild_tasks.events import Listener
from prebuild_tasks.insight import AuditFilter, StoredEvent, list_audit
from prebuild_tasks.model.event_kinds import CLAIMED, KINDS
from prebuild_tasks.web.api.lists import Sort
from prebuild_tasks.web.api.models import Name, PageQuery
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.listing import Order, list_page
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
    query = read_values(HistoryQuery, visit.query)
    database, listener = visit.door.runtime.database, Listener.of(visit.principal)
    wanted = AuditFilter(workspace=query.workspace, preset=query.preset, who=query.who, event=query.event)
    listing = await list_page(
        visit, query, _ORDER, lambda start, limit: list_audit(database, listener, wanted, start, limit)
    )
    return visit.show("history", listing=listing, shown=query, events=sorted({CLAIMED, *KINDS}))


PAGES = (Page(path="/history", handle=show_history, title="History"),)
