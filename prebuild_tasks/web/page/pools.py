"""The table of pools, those that lack most first, with its changes as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

from starlette.responses import Response

from prebuild_tasks.access import EVERYTHING, Reach, sees_preset
from prebuild_tasks.insight import pool_lines
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.live import read_live, show_live, viewer_of
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer, ViewRead
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.pool_rows import PoolFilter, TableRow, choices, pool_rows
from prebuild_tasks.web.page.render import Frame, render_part
from prebuild_tasks.web.page.steps import resume_all_step
from prebuild_tasks.web.page.visit import Visit, root_of

LIST, SUMMARY, EMPTY, PAUSED = "pools", "pools-summary", "pools-empty", "pools-paused"
_KEPT = 20_000
"""Rows whose HTML is kept: two versions of each in a large installation take some 20 MiB."""

DrawnRow = tuple[TableRow, Part]
"""A pool's row with its HTML, which is the same for everyone."""


@dataclass(frozen=True, slots=True)
class DrawnPools:
    """All pools, those that lack most first."""

    rows: Sequence[DrawnRow]
    root: str
    """Begins every path."""
    paused: str
    """Who paused everything, and why; empty: not everything is paused."""
    _within: dict[Reach, Sequence[DrawnRow]] = field(default_factory=dict, compare=False)

    def within(self, reach: Reach) -> Sequence[DrawnRow]:
        """Return the rows within a reach, looked for once for all who have the same."""
        if reach.is_everything:
            return self.rows
        if reach not in self._within:
            self._within[reach] = [
                drawn for drawn in self.rows if sees_preset(reach, drawn[0].organization, drawn[0].ref.pool)
            ]
        return self._within[reach]


async def show_pools(visit: Visit) -> Response:
    """Show the pools within reach."""
    drawn = await read_live(visit, POOLS)
    viewer = viewer_of(visit, POOLS)
    chosen = _filter(viewer)
    offered = choices([row for row, _ in drawn.within(viewer.reach)], chosen)
    return show_live(visit, POOLS, drawn, "pools", chosen=chosen, offered=offered)


async def _read(look: ViewRead) -> DrawnPools:
    return await look.in_thread(partial(drawn_pools, look.door))


def drawn_pools(door: Door) -> DrawnPools:
    """Read all pools, and draw the rows that have changed. Former versions have no row of their own."""
    lines = pool_lines(door.runtime.database, door.settings, EVERYTHING)
    rows = pool_rows(line for line in lines if not line.status.superseded)
    root = root_of(door)
    paused = next((line.all_paused for line in lines if line.all_paused), "")
    return DrawnPools([(row, draw_row(row, root)) for row in rows], root, paused)


@lru_cache(_KEPT)
def draw_row(row: TableRow, root: str) -> Part:
    """Return a row as a part of the page, drawn once for all who see it until it changes."""
    return Part(f"pool-{row.pool}", render_part("pool_row", "pool_row", row, root), LIST)


def _parts(drawn: DrawnPools, viewer: Viewer) -> Sequence[Part]:
    within = drawn.within(viewer.reach)
    shown = _filter(viewer)
    rows = [part for row, part in within if shown.shows(row)] if shown else [part for _, part in within]
    short = sum(row.shortfall > 0 for row, _ in within)
    summary = render_part("pools_parts", "summary", len(within), short)
    empty = render_part("pools_parts", "empty", len(within), len(rows), drawn.root)
    paused = render_part("pools_parts", "paused", Frame(root=drawn.root), drawn.paused, [resume_all_step(viewer)])
    return [Part(SUMMARY, summary), Part(PAUSED, paused), Part(EMPTY, empty), *rows]


def _filter(viewer: Viewer) -> PoolFilter:
    return PoolFilter(viewer.field("q"), viewer.field("template"), viewer.field("organization"), viewer.field("reason"))


_FIELDS = ("q", "template", "organization", "reason")
POOLS = LiveKind(name="pools", read=_read, parts=_parts, fields=_FIELDS, of_pools_only=True)
PAGES = (Page(path="/pools", handle=show_pools, title="Pools", live=POOLS), Page(path="/", handle=show_pools))
