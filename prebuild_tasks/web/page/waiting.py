"""The people who wait for a workspace, with their place and when it can be expected."""

from __future__ import annotations

from starlette.responses import Response

from prebuild_tasks.insight import CreatedKey, WaitView, list_waiting
from prebuild_tasks.web.api.lists import Sort
from prebuild_tasks.web.api.models import PageQuery
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.listing import Order, created_key, created_position, list_page
from prebuild_tasks.web.page.values import read_values
from prebuild_tasks.web.page.visit import Visit

_ORDER: Order[WaitView, CreatedKey] = Order(
    Sort("waiting", 2), lambda row: created_position(row.created_at, row.id), created_key
)


async def show_waiting(visit: Visit) -> Response:
    """Show who waits, who has waited longest first."""
    database, reach = visit.door.runtime.database, visit.principal.reach
    listing = await list_page(
        visit, read_values(PageQuery, visit.query), _ORDER,
        lambda start, limit: list_waiting(database, reach, start, limit),
    )  # fmt: skip
    return visit.show("waiting", listing=listing)


PAGES = (Page(path="/waiting", handle=show_waiting, title="Waiting"),)
