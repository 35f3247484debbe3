"""The coming week of a pool as a band: its desired size over time, by its schedules.

CSS classes of the drawing: `grid`, `tick` and `size` (texts), `band` (the desired size), `night` (a line at midnight).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

from markupsafe import escape

from prebuild_tasks.insight import PoolWeek, SizeSpan, zone_of
from prebuild_tasks.web.charts import LEFT, WIDTH, TimeAxes, empty, svg
from prebuild_tasks.web.page.plots import Plot, PlotTable

_HEIGHT = 140
_LABELLED = 22
"""A span is labelled with its size if it is at least this wide."""
_DAY_SHOWN = 48
"""A day is named if at least this much of its width is left."""


def week_band(week: PoolWeek) -> Plot:
    """Return the coming week, in the time zone of the schedules."""
    zone = zone_of(week.timezone)
    title = f"Desired size in the coming week ({zone})"
    rows = tuple(
        (f"{span.since.astimezone(zone):%a %d %b %H:%M}", f"{span.until.astimezone(zone):%a %d %b %H:%M}",
         str(span.desired)) for span in week.spans
    )  # fmt: skip
    table = PlotTable(("From", "Until", "Desired"), rows)
    if not week.spans or not any(span.desired for span in week.spans):
        return Plot(title, empty("No prebuild is desired in the coming week."), table, note=_note(week))
    since, until = week.spans[0].since, week.spans[-1].until
    frame = TimeAxes(since, until, max(span.desired for span in week.spans), whole=True, height=_HEIGHT)
    parts = [*frame.lines(), *_bars(frame, week.spans, zone), *_days(frame, zone)]
    return Plot(title, svg(WIDTH, _HEIGHT, parts, title), table, note=_note(week))


def _bars(frame: TimeAxes, spans: tuple[SizeSpan, ...], zone: tzinfo) -> Iterator[str]:
    for span in spans:
        left, right, top = frame.x(span.since), frame.x(span.until), frame.y(span.desired)
        begin, end = (f"{at.astimezone(zone):%a %d %b %H:%M}" for at in (span.since, span.until))
        title = f"<title>{escape(f'{begin} to {end}: {span.desired}')}</title>"
        box = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{frame.y(0) - top:.1f}"'
        label = f'<text class="size" x="{(left + right) / 2:.1f}" y="{max(top - 3, 10):.1f}" text-anchor="middle">'
        shown = f"{label}{span.desired}</text>" if right - left >= _LABELLED else ""
        yield f'<g>{title}<rect class="band" {box}/>{shown}</g>'


def _days(frame: TimeAxes, zone: tzinfo) -> Iterator[str]:
    """Yield a line at each local midnight, and the name of each day at its begin."""
    day = frame.since.astimezone(zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    while (begin := _utc(day, zone)) < frame.until:
        left, right = frame.x(begin), frame.x(_utc(day + timedelta(days=1), zone))
        if left > LEFT:
            y1, y2 = frame.y(frame.most), frame.y(0)
            yield f'<line class="night" x1="{left:.1f}" x2="{left:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'
        if right - left >= _DAY_SHOWN:
            yield frame.tick((left + right) / 2, f"{day:%a %d %b}")
        day += timedelta(days=1)


def _utc(local: datetime, zone: tzinfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)


def _note(week: PoolWeek) -> str:
    if not week.schedules:
        return f"It has no schedules: {week.base} at all times."
    if not week.usable:
        return "Its schedules are ignored: the time zone is unknown on this machine, or two of them overlap."
    return f"{week.base} while no schedule applies."
