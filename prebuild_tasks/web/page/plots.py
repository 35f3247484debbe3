"""The plots of one pool over the last day or week: each a drawing, and a table that holds its numbers.

CSS classes of the drawings: `grid`, `tick` and `nothing` (texts), `line`, and by meaning `desired`, `eligible`, `hit`,
`miss`, `rate`, `p50`, `p95` and `cost`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from prebuild_tasks.insight import PoolCurves
from prebuild_tasks.web.charts import amount_chart, hit_chart, rate_chart, ready_chart, stock_chart


@dataclass(frozen=True, slots=True)
class PlotKey:
    """The meaning of a colour."""

    css_class: str
    name: str


@dataclass(frozen=True, slots=True)
class PlotTable:
    """The numbers of a plot, as the alternative to its drawing. The first cell of a row names it."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str | datetime, ...], ...]
    """An instant is the begin of a span of time, in UTC."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing with its title, and the same as a table."""

    title: str
    drawing: Markup
    table: PlotTable
    key: tuple[PlotKey, ...] = ()
    note: str = ""
    """What the numbers leave out; empty: nothing."""


def plots(curves: PoolCurves) -> list[Plot]:
    """Return the plots of one pool."""
    return [_stock(curves), _requests(curves), _rate(curves), _ready(curves), _idle(curves)]


def _stock(curves: PoolCurves) -> Plot:
    points = [(point.at, point.eligible) for point in curves.stock]
    return Plot(
        title="Eligible and desired",
        drawing=stock_chart(points, curves.desired, curves.since, curves.until, curves.width),
        table=_table(("Eligible", "Desired"), _stock_rows(curves)),
        key=(PlotKey("eligible", "eligible, on average"), PlotKey("desired", "desired, as declared now")),
        note="Counts ready prebuilds until they were claimed or chosen for deletion, unhealthy and expired ones too.",
    )


def _stock_rows(curves: PoolCurves) -> Iterator[tuple[str | datetime, ...]]:
    spans = list(curves.desired)
    for point in curves.stock:
        while len(spans) > 1 and spans[0].until <= point.at:
            spans.pop(0)
        yield point.at, f"{point.eligible:.1f}", str(spans[0].desired) if spans else ""


def _requests(curves: PoolCurves) -> Plot:
    return Plot(
        title="Claims and misses",
        drawing=hit_chart(curves.hits, curves.since, curves.until, curves.width),
        table=_table(("Hits", "Misses"), ((at, str(hits), str(misses)) for at, hits, misses in curves.hits)),
        key=(PlotKey("hit", "hits"), PlotKey("miss", "misses")),
    )


def _rate(curves: PoolCurves) -> Plot:
    rows = ((at, f"{100 * hits / (hits + misses):.0f} %") for at, hits, misses in curves.hits)
    return Plot(
        title="Hit rate",
        drawing=rate_chart(curves.hits, curves.since, curves.until, curves.width),
        table=_table(("Hit rate",), rows),
    )


def _ready(curves: PoolCurves) -> Plot:
    p50, p95 = ([(at, getattr(value, name)) for at, value in curves.ready] for name in ("p50", "p95"))
    rows = ((at, f"{value.p50:.1f} s", f"{value.p95:.1f} s") for at, value in curves.ready)
    return Plot(
        title="Time to ready",
        drawing=ready_chart(p50, p95, curves.since, curves.until, curves.width),
        table=_table(("Median", "95th percentile"), rows),
        key=(PlotKey("p50", "median"), PlotKey("p95", "95th percentile")),
    )


def _idle(curves: PoolCurves) -> Plot:
    """Return the cost of idle prebuilds, or their hours where the pool declares no cost."""
    priced = any(point.idle_cost is not None for point in curves.stock)
    what = "Idle cost" if priced else "Idle hours"
    points = [(point.at, (point.idle_cost or 0.0) if priced else point.idle_hours) for point in curves.stock]
    return Plot(
        title=what,
        drawing=amount_chart(points, curves.since, curves.until, curves.width, what),
        table=_table((what,), ((at, f"{value:,.2f}") for at, value in points)),
    )


def _table(headings: Sequence[str], rows: Iterator[tuple[str | datetime, ...]]) -> PlotTable:
    return PlotTable(("From", *headings), tuple(rows))
