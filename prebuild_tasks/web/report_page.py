"""The report as one self-contained HTML page, for light and dark mode.

The page has no script and loads nothing. Every value is escaped.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from prebuild_tasks import __version__
from prebuild_tasks.insight import Figures, Percentiles, PoolReport, Recommendation, Report
from prebuild_tasks.web.charts import bar_chart, heat_chart, hit_chart, rate_chart, ready_chart

_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #1b2430; --quiet: #667085; --rule: #e4e7ec;
  --hit: #2563eb; --miss: #e8590c; --cell: #eef1f5; }
@media (prefers-color-scheme: dark) { :root { --page: #0e1218; --card: #171d26; --ink: #e6eaf0; --quiet: #93a0b3;
  --rule: #2a3340; --hit: #6ea0ff; --miss: #ff9457; --cell: #212a36; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 15px; margin: 0 0 10px; font-weight: 600; }
p { margin: 4px 0; } .quiet { color: var(--quiet); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(108px, 1fr)); gap: 12px; margin: 22px 0 16px; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 16px 18px; }
.tile { padding: 14px 14px; }
.tile b { display: block; font-size: 21px; white-space: nowrap; line-height: 1.25;
  font-weight: 650; font-variant-numeric: tabular-nums; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); gap: 16px; }
.wide { margin-top: 16px; overflow-x: auto; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--quiet); font-size: 12px; }
svg text.name { fill: var(--ink); font-size: 13px; }
.grid { stroke: var(--rule); stroke-width: 1; } .cell { fill: var(--cell); }
.hit, circle.p50, circle.rate { fill: var(--hit); } .miss, circle.p95 { fill: var(--miss); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .line.p50, .line.rate { stroke: var(--hit); }
.line.p95 { stroke: var(--miss); }
.key { display: inline-flex; gap: 14px; float: right; font-size: 13px; color: var(--quiet); font-weight: 400; }
.key i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 5px; }
.key .a { background: var(--hit); } .key .b { background: var(--miss); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 7px 10px; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--quiet); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
tr.total td { font-weight: 600; border-bottom: 0; }
ul { margin: 0; padding-left: 20px; } li { margin: 4px 0; }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
"""
_HEADINGS = (
    "Preset", "Claims", "Hits", "Misses", "Hit rate", "Cold starts", "Claim p50 / p95", "Ready p50 / p95", "Built",
    "Failed", "Wasted", "Idle hours", "Idle cost",
)  # fmt: skip
_BARS = 30


def page(report: Report, words: Callable[[Recommendation], str] = str) -> str:
    """Return the page as HTML; `words` spells a recommendation."""
    period = f"{report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC"
    zones = sorted({pool.timezone for pool in report.pools if pool.figures.claims})
    where = zones[0] if len(zones) == 1 else "each pool's own time"
    hits_key = '<span class="key"><span><i class="a"></i>hits</span><span><i class="b"></i>misses</span></span>'
    ready_key = '<span class="key"><span><i class="a"></i>p50</span><span><i class="b"></i>p95</span></span>'
    since, until, width = report.since, report.until, report.width
    p50, p95 = ([(at, getattr(v, name)) for at, v in report.ready_curve] for name in ("p50", "p95"))
    heat = f"by weekday and hour, {where}"
    plots = [
        _card("Hit rate", rate_chart(report.hit_curve, since, until, width)),
        _card(f"Requests{hits_key}", hit_chart(report.hit_curve, since, until, width)),
        _card(f"Claims {escape(heat)}", heat_chart(report.heat.claims, "hit", "claims")),
        _card(f"Misses {escape(heat)}", heat_chart(report.heat.misses, "miss", "misses")),
        _card(f"Time to ready{ready_key}", ready_chart(p50, p95, since, until, width)),
        _card(*_idle(report)),
    ]
    notes = "".join(f'<p class="quiet">{escape(note[0].upper() + note[1:])}.</p>' for note in report.notes)
    body = f"""<header><h1>Prebuilds</h1><p class="quiet">{escape(period)}</p>{notes}</header>
<section class="tiles">{"".join(_tiles(report.total))}</section>
<section class="plots">{"".join(plots)}</section>
{_advice(report, words)}
<section class="card wide"><h2>Pools</h2>{_table(report)}</section>
<p class="quiet">prebuild_tasks {escape(__version__)}</p>"""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Prebuilds, {escape(period)}</title><style>{_STYLE}</style></head>
<body><main>{body}</main></body></html>
"""


def _card(title: str, content: str) -> str:
    """Return a card. `title` and `content` are HTML and are not escaped."""
    return f'<div class="card"><h2>{title}</h2>{content}</div>'


def _tiles(total: Figures) -> list[str]:
    ready = total.time_to_ready_s
    shown = [
        ("hit rate", _percent(total.hit_rate)),
        ("claims", f"{total.claims:,}"),
        ("misses", f"{total.misses:,}"),
        ("cold starts", f"{total.cold_starts:,}"),
        ("ready in, p95", _seconds(ready.p95) if ready else "-"),
        ("idle hours", f"{total.idle_hours:,.0f}"),
        *([] if total.idle_cost is None else [("idle cost", f"{total.idle_cost:,.2f}")]),
        ("wasted builds", f"{total.wasted_builds:,}"),
        ("failed builds", f"{total.failed_builds:,}"),
    ]
    return [
        f'<div class="card tile"><b>{escape(value)}</b><span class="quiet">{name}</span></div>' for name, value in shown
    ]


def _idle(report: Report) -> tuple[str, str]:
    """Return the heading and the chart of idle cost per pool, or of idle hours where no pool declares a cost.

    Only the largest are shown, no more than can be read.
    """
    by_cost = report.total.idle_cost is not None

    def amount(pool: PoolReport) -> float:
        return (pool.figures.idle_cost or 0.0) if by_cost else pool.figures.idle_hours

    pools = sorted(report.pools, key=lambda pool: (-amount(pool), pool.preset))
    bars = [(pool.preset, amount(pool), _idle_words(pool.figures, by_cost=by_cost)) for pool in pools[:_BARS]]
    what = "Idle cost" if by_cost else "Idle hours"
    rest = f", the {_BARS} largest" if len(pools) > _BARS else ""
    return f"{what} per pool{rest}", bar_chart(bars, f"{what} per pool")


def _idle_words(figures: Figures, *, by_cost: bool) -> str:
    hours = f"{figures.idle_hours:,.1f} h"
    if not by_cost:
        return hours
    return f"{figures.idle_cost:,.2f} ({hours})" if figures.idle_cost is not None else f"no price ({hours})"


def _advice(report: Report, words: Callable[[Recommendation], str]) -> str:
    items = [
        f"<li><code>{escape(pool.preset)}</code>: {escape(words(item))}</li>"
        for pool in report.pools
        for item in pool.recommendations
    ]
    return f'<section class="card wide"><h2>Recommendations</h2><ul>{"".join(items)}</ul></section>' if items else ""


def _table(report: Report) -> str:
    head = "".join(f"<th>{name}</th>" for name in _HEADINGS)
    rows = "".join(_row(pool.preset, pool.figures, "") for pool in report.pools)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}{_row('Total', report.total, 'total')}</tbody></table>"


def _row(name: str, figures: Figures, kind: str) -> str:
    wasted = ", ".join(f"{count} {reason}" for reason, count in figures.wasted_by_reason.items())
    cells = [
        escape(name),
        f"{figures.claims:,}",
        f"{figures.hits:,}",
        f"{figures.misses:,}",
        _percent(figures.hit_rate),
        f"{figures.cold_starts:,}",
        _both(figures.claim_latency_ms, " ms"),
        _both(figures.time_to_ready_s, " s"),
        f"{figures.built:,}",
        f"{figures.failed_builds:,}",
        f'<span title="{escape(wasted)}">{figures.wasted_builds:,}</span>',
        f"{figures.idle_hours:,.1f}",
        "-" if figures.idle_cost is None else f"{figures.idle_cost:,.2f}",
    ]
    return f'<tr class="{kind}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"


def _both(values: Percentiles | None, unit: str) -> str:
    return f"{values.p50:,.1f} / {values.p95:,.1f}{unit}" if values else "-"


def _seconds(value: float) -> str:
    return f"{value:,.1f} s" if value < 90 else f"{value / 60:,.1f} min"
