"""One pool: what changes while its page is open, the coming week by its schedules, and its plots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from starlette.responses import Response

from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.insight import PoolCurves, PoolWeek, pool_curves, pool_week
from prebuild_tasks.web.page.actions import POOL_PATH
from prebuild_tasks.web.page.bands import week_band
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.live import read_live, show_live
from prebuild_tasks.web.page.live_kinds import LiveKind, ViewRead, seen_alike
from prebuild_tasks.web.page.plots import Plot, plots
from prebuild_tasks.web.page.pool_parts import POOL, pool_name
from prebuild_tasks.web.page.visit import Visit

_DAY, _WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class _Drawings:
    """The numbers of the drawings."""

    week: PoolWeek
    last_day: PoolCurves
    last_week: PoolCurves


async def show_pool(visit: Visit) -> Response:
    """Show a pool within reach."""
    view = await read_live(visit, POOL)
    drawn = await read_live(visit, DRAWINGS)
    return show_live(
        visit, POOL, view, "pool",
        name=view.name,
        band=week_band(drawn.week),
        periods=(_period("The last day", drawn.last_day), _period("The last week", drawn.last_week)),
    )  # fmt: skip


async def _read(look: ViewRead) -> _Drawings:
    database, settings, reach = look.door.runtime.database, look.door.settings, look.viewer.reach
    name = pool_name(look.viewer)
    return await look.in_thread(
        lambda: _Drawings(
            pool_week(database, reach, name),
            pool_curves(database, settings, reach, name, _DAY),
            pool_curves(database, settings, reach, name, _WEEK),
        )
    )


def _period(title: str, curves: PoolCurves) -> tuple[str, list[Plot], tuple[str, ...]]:
    return title, plots(curves), curves.notes


async def show_none(visit: Visit) -> Response:
    """Tell that a path below `/pools` names nothing. Raises NotFoundError."""
    raise NotFoundError(f"there is no page {visit.request.url.path}")


DRAWINGS = LiveKind(name="drawings", read=_read, fields=("template", "preset"), subject=seen_alike)
"""The drawings, which an open page gets anew by another visit each minute."""
PAGES = (Page(path=POOL_PATH, handle=show_pool, live=POOL), Page(path="/pools/{rest:path}", handle=show_none))
