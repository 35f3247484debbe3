"""The table of pools, those that lack most first."""

from __future__ import annotations

from starlette.responses import Response

from prebuild_tasks.insight import pool_lines
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.pool_rows import PoolFilter, choices, filtered, pool_rows
from prebuild_tasks.web.page.visit import Visit


async def show_pools(visit: Visit) -> Response:
    """Show the pools within reach. Superseded versions are on the page of their pool."""
    database, settings, reach = visit.door.runtime.database, visit.door.settings, visit.principal.reach
    lines = await visit.in_thread(lambda: pool_lines(database, settings, reach))
    rows = pool_rows(line for line in lines if not line.status.superseded)
    query = visit.query
    shown = PoolFilter(
        search=query.get("q", ""),
        template=query.get("template", ""),
        organization=query.get("organization", ""),
        reason=query.get("reason", ""),
    )
    return visit.show(
        "pools",
        rows=filtered(rows, shown),
        total=len(rows),
        short=sum(row.shortfall > 0 for row in rows),
        shown=shown,
        choices=choices(rows),
    )


PAGES = (Page(path="/pools", handle=show_pools, title="Pools"), Page(path="/", handle=show_pools))
