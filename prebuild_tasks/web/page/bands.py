"""The coming week of a pool as a band: its desired size over time, by its schedules.

CSS classes of the drawing: `grid`, `tick` and `size` (texts), `band` (the desired size), `night` (a line at midnight),
and `nothing` (a sentence).
"""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import escape

from prebuild_tasks.insight import PoolWeek, SizeSpan, zone_of
from prebuild_tasks.web.charts import TimeAxes, time_chart
from prebuild_tasks.web.page.plots import Plot, PlotTable

_HEIGHT = 158
_LABELLED = 22
"""A span is labelled with its size if it is at least this wide."""
_TITLE = "Desired size in the coming week"


def week_band(week: PoolWeek) -> Plot:
    """Return the coming week."""
    rows = tuple((span.since, span.until, str(span.desired)) for span in week.spans)
    table = PlotTable(("From", "Until", "Desired"), rows)
    since, until = week.spans[0].since, week.spans[-1].until
    most = max(span.desired for span in week.spans)
    frame = TimeAxes(since, until, most or 1, whole=True, height=_HEIGHT)
    midnight = f'<line class="night" y1="{frame.y(frame.most):.1f}" y2="{frame.y(0):.1f}"/>'
    parts = [*frame.lines(), *(_bars(frame, week.spans) if most else ()), *frame.times(midnight if most else "")]
    nothing = "" if most else "No prebuild is desired in the coming week."
    return Plot(_TITLE, time_chart(frame, parts, _TITLE, nothing), table, note=_note(week))


def _bars(frame: TimeAxes, spans: tuple[SizeSpan, ...]) -> Iterator[str]:
    for span in spans:
        left, right, top = frame.x(span.since), frame.x(span.until), frame.y(span.desired)
        begin, end = (f"{at:%a %Y-%m-%d %H:%M} UTC" for at in (span.since, span.until))
        title = f"<title>{escape(f'{begin} to {end}: {span.desired}')}</title>"
        box = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{frame.y(0) - top:.1f}"'
        label = f'<text class="size" x="{(left + right) / 2:.1f}" y="{max(top - 3, 10):.1f}" text-anchor="middle">'
        shown = f"{label}{span.desired}</text>" if right - left >= _LABELLED else ""
        yield f'<g>{title}<rect class="band" {box}/>{shown}</g>'


def _note(week: PoolWeek) -> str:
    if not week.schedules:
        return f"It has no schedules: {week.base} at all times."
    if not week.usable:
        return "Its schedules are ignored: the time zone is unknown on this machine, or two of them overlap."
    return f"{week.base} while no schedule applies. The schedules go by the clocks of {zone_of(week.timezone)}."
