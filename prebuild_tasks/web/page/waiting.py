"""The people who wait for a workspace, with their place and when it can be expected."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from prebuild_tasks.insight import CreatedKey, WaitView, list_waiting
from prebuild_tasks.web.api.lists import Sort
from prebuild_tasks.web.api.models import PageQuery
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.listing import (
    PAGE_FIELDS,
    ListedPage,
    Order,
    created_key,
    created_position,
    list_page,
    list_parts,
)
from prebuild_tasks.web.page.live import read_live, show_live
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer, ViewRead, seen_alike
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.values import read_values
from prebuild_tasks.web.page.visit import Visit

_ORDER: Order[WaitView, CreatedKey] = Order(
    Sort("waiting", 2), lambda row: created_position(row.created_at, row.id), created_key
)


async def show_waiting(visit: Visit) -> Response:
    """Show who waits, who has waited longest first."""
    listing = await read_live(visit, WAITING)
    return show_live(visit, WAITING, listing, "waiting", changes=listing.is_first)


async def _read(look: ViewRead) -> ListedPage[WaitView]:
    database, reach = look.door.runtime.database, look.viewer.reach
    return await list_page(
        look, read_values(PageQuery, dict(look.viewer.fields)), _ORDER,
        lambda start, limit: list_waiting(database, reach, start, limit),
    )  # fmt: skip


def _parts(listing: ListedPage[WaitView], _: Viewer) -> Sequence[Part]:
    return list_parts("waiting", listing, lambda row: f"waiting-{row.id}")


WAITING = LiveKind(name="waiting", read=_read, parts=_parts, fields=PAGE_FIELDS, subject=seen_alike)
PAGES = (Page(path="/waiting", handle=show_waiting, title="Waiting", live=WAITING),)
