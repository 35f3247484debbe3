"""The table of pools, those that lack most first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from prebuild_tasks.insight import ListedPool, list_pools
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.visit import Visit

_ALL = 10**6
"""More pools than an installation has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A pool as a row of the table."""

    pool: str
    template: str
    desired: int
    eligible: int
    starting: int
    failed: int
    state: str
    """`full`, `short`, `empty`, or the reason that waits for a person."""
    reason: str
    """The code of the reason why it is short; `none` if it is not."""
    sentence: str
    """The reason in words; empty if it is not short."""
    next_change_at: datetime | None
    next_desired: int

    @property
    def shortfall(self) -> int:
        """The prebuilds that are missing."""
        return max(self.desired - self.eligible, 0)

    @property
    def share(self) -> float:
        """The eligible prebuilds as a part of the desired ones, 0 to 1."""
        return min(self.eligible / self.desired, 1.0) if self.desired else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The rows to show. An empty field restricts nothing."""

    search: str
    template: str
    reason: str

    def shows(self, row: TableRow) -> bool:
        """Return whether a row meets every field."""
        name = row.pool.casefold()
        return (
            self.template in ("", row.template)
            and self.reason in ("", row.reason)
            and all(part in name for part in self.search.casefold().split())
        )


async def show_pools(visit: Visit) -> Response:
    """Show the pools within reach."""
    database, settings, reach = visit.door.runtime.database, visit.door.settings, visit.principal.reach
    listed = await visit.in_thread(lambda: list_pools(database, settings, reach, None, _ALL))
    query = visit.query
    shown = Filter(search=query.get("q", ""), template=query.get("template", ""), reason=query.get("reason", ""))
    rows = table_rows(listed)
    return visit.show(
        "pools",
        rows=[row for row in rows if shown.shows(row)],
        total=len(rows),
        short=sum(row.shortfall > 0 for row in rows),
        shown=shown,
        templates=sorted({row.template for row in rows}),
        reasons=sorted({row.reason for row in rows}),
    )


def table_rows(listed: Iterable[ListedPool]) -> Sequence[TableRow]:
    """Return the rows of the active versions by shortfall, the largest first, then by name."""
    rows = [_row(pool) for pool in listed if not pool.status.superseded]
    return sorted(rows, key=lambda row: (-row.shortfall, row.pool))


def _row(pool: ListedPool) -> TableRow:
    status, change = pool.status, pool.next_change
    return TableRow(
        pool=str(status.preset),
        template=status.preset.template,
        desired=status.desired,
        eligible=status.eligible,
        starting=status.starting,
        failed=status.failed,
        state=_state(pool),
        reason=status.reason,
        sentence="" if status.reason == "none" else status.reason.replace("_", " "),
        next_change_at=change.at if change else None,
        next_desired=change.desired if change else 0,
    )


def _state(pool: ListedPool) -> str:
    status = pool.status
    if status.reason in ("paused", "hard_limited", "validation_failed"):
        return status.reason
    if status.full:
        return "full"
    return "short" if status.eligible or status.second_choices else "empty"


PAGES = (Page(path="/pools", handle=show_pools, title="Pools"), Page(path="/", handle=show_pools))
