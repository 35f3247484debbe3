"""The report as one self-contained HTML page, for light and dark mode.

The page has no script and loads nothing. Jinja escapes every value; `templates/report.html.j2` is the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from prebuild_tasks import __version__
from prebuild_tasks.insight import Figures, Percentiles, PoolReport, Recommendation, Report
from prebuild_tasks.web.charts import bar_chart, heat_chart, hit_chart, rate_chart, ready_chart

_HEADINGS = (
    "Preset", "Claims", "Hits", "Misses", "Hit rate", "Cold starts", "Claim p50 / p95", "Ready p50 / p95", "Built",
    "Failed", "Wasted", "Idle hours", "Idle cost",
)  # fmt: skip
_BARS = 8
"""Bars of the idle chart: it is then as high as the chart beside it."""


@dataclass(frozen=True, slots=True)
class _Tile:
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class _Plot:
    title: str
    drawing: Markup
    key: Sequence[str] = ()
    """The meanings of its colours, in order."""


@dataclass(frozen=True, slots=True)
class _Advice:
    preset: str
    text: str


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    tooltip: str | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    kind: str
    """The CSS class of the row."""
    cells: Sequence[_Cell]

    @property
    def name(self) -> str:
        """The name of the pool, or of the total."""
        return self.cells[0].text


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """The parts of a report, ready to be shown."""

    since: datetime
    until: datetime
    notes: Sequence[str]
    tiles: Sequence[_Tile]
    plots: Sequence[_Plot]
    advice: Sequence[_Advice]
    headings: Sequence[str]
    rows: Sequence[_Row]

    @property
    def has_pools(self) -> bool:
        """Whether there is a row beside that of the total."""
        return len(self.rows) > 1

    @property
    def period(self) -> str:
        """Its begin and its end, in UTC."""
        return f"{self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} UTC"


def report_content(report: Report, spell: Callable[[Recommendation], str] = str) -> ReportContent:
    """Return the parts of a report; `spell` puts a recommendation into words."""
    return ReportContent(
        since=report.since,
        until=report.until,
        notes=[note[0].upper() + note[1:] for note in report.notes],
        tiles=list(_tiles(report.total)),
        plots=_plots(report),
        advice=[_Advice(pool.name, spell(item)) for pool in report.pools for item in pool.recommendations],
        headings=_HEADINGS,
        rows=[*(_row(pool.name, pool.figures, "") for pool in report.pools), _row("Total", report.total, "total")],
    )


def report_html(report: Report, spell: Callable[[Recommendation], str] = str) -> str:
    """Return the page as HTML; `spell` puts a recommendation into words."""
    return _template().render(content=report_content(report, spell), version=__version__)


@cache
def _template() -> Template:
    folder = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.get_template("report.html.j2")


def _plots(report: Report) -> list[_Plot]:
    zones = sorted({pool.timezone for pool in report.pools if pool.figures.claims})
    where = zones[0] if len(zones) == 1 else "each pool's own time"
    heat = f"by weekday and hour, {where}"
    since, until, width = report.since, report.until, report.width
    p50, p95 = ([(at, getattr(v, name)) for at, v in report.ready_curve] for name in ("p50", "p95"))
    return [
        _Plot("Hit rate", rate_chart(report.hit_curve, since, until, width)),
        _Plot("Requests", hit_chart(report.hit_curve, since, until, width), ("hits", "misses")),
        _Plot(f"Claims {heat}", heat_chart(report.heat.claims, "hit", "claim", "claims")),
        _Plot(f"Misses {heat}", heat_chart(report.heat.misses, "miss", "miss", "misses")),
        _Plot("Time to ready", ready_chart(p50, p95, since, until, width), ("p50", "p95")),
        _idle(report),
    ]


def _tiles(total: Figures) -> Iterator[_Tile]:
    ready = total.time_to_ready_s
    yield _Tile("hit rate", _percent(total.hit_rate))
    yield _Tile("claims", f"{total.claims:,}")
    yield _Tile("misses", f"{total.misses:,}")
    yield _Tile("cold starts", f"{total.cold_starts:,}")
    yield _Tile("ready in, p95", _seconds(ready.p95) if ready else "-")
    yield _Tile("idle hours", f"{total.idle_hours:,.1f}")
    if total.idle_cost is not None:
        yield _Tile("idle cost", f"{total.idle_cost:,.2f}")
    yield _Tile("wasted builds", f"{total.wasted_builds:,}")
    yield _Tile("failed builds", f"{total.failed_builds:,}")


def _idle(report: Report) -> _Plot:
    """Return the heading and the chart of idle cost per pool, or of idle hours where no pool declares a cost.

    Only the largest are shown, no more than can be read.
    """
    by_cost = report.total.idle_cost is not None

    def amount(pool: PoolReport) -> float:
        return (pool.figures.idle_cost or 0.0) if by_cost else pool.figures.idle_hours

    pools = sorted(report.pools, key=lambda pool: (-amount(pool), pool.name))
    bars = [(pool.name, amount(pool), _idle_text(pool.figures, by_cost=by_cost)) for pool in pools[:_BARS]]
    what = "Idle cost" if by_cost else "Idle hours"
    rest = f", the {_BARS} largest" if len(pools) > _BARS else ""
    return _Plot(f"{what} per pool{rest}", bar_chart(bars, f"{what} per pool"))


def _idle_text(figures: Figures, *, by_cost: bool) -> str:
    hours = f"{figures.idle_hours:,.1f} h"
    if not by_cost:
        return hours
    return f"{figures.idle_cost:,.2f} ({hours})" if figures.idle_cost is not None else f"no price ({hours})"


def _row(name: str, figures: Figures, kind: str) -> _Row:
    wasted = ", ".join(f"{count} {reason}" for reason, count in figures.wasted_by_reason.items())
    texts: list[str | _Cell] = [
        name,
        f"{figures.claims:,}",
        f"{figures.hits:,}",
        f"{figures.misses:,}",
        _percent(figures.hit_rate),
        f"{figures.cold_starts:,}",
        _both(figures.claim_latency_ms, " ms"),
        _both(figures.time_to_ready_s, " s"),
        f"{figures.built:,}",
        f"{figures.failed_builds:,}",
        _Cell(f"{figures.wasted_builds:,}", wasted),
        f"{figures.idle_hours:,.1f}",
        "-" if figures.idle_cost is None else f"{figures.idle_cost:,.2f}",
    ]
    return _Row(kind, [text if isinstance(text, _Cell) else _Cell(text) for text in texts])


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"


def _both(values: Percentiles | None, unit: str) -> str:
    return f"{values.p50:,.1f} / {values.p95:,.1f}{unit}" if values else "-"


def _seconds(value: float) -> str:
    return f"{value:,.1f} s" if value < 90 else f"{value / 60:,.1f} min"
