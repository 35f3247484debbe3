"""The charts of the report and of a pool, as SVG.

Colours are CSS classes that the page defines, for light and dark mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil, floor, log10

from markupsafe import Markup, escape

from prebuild_tasks.insight import DAYS, SizeSpan
from prebuild_tasks.model.terminal import escaped
from prebuild_tasks.model.text import cut_names, number

WIDTH, _HEIGHT = 720, 238
LEFT, RIGHT = 58, 8
"""The room beside a chart over time; left of it stand the values of its grid."""
_TOP, _BOTTOM = 12, 44
"""The room above a chart over time, and below it for the times and the name of their zone."""
_CELL, _GAP = 26, 2
_BAR, _BAR_SPACE = 18, 34
_LABEL = 36
"""The letters of a name that fit beside its bar."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICKS = tuple(timedelta(hours=hours) for hours in (1, 3, 6, 12, 24, 48, 7 * 24, 14 * 24, 28 * 24))
_TICKS_MAX, _MARGIN = 8, 24
"""The most times below a chart, and how far from its edges they stay."""
_MS = timedelta(milliseconds=1)
_NO_CLAIMS, _NO_IDLE = "There were no claims in this period.", "No prebuild was idle in this period."

Points = Sequence[tuple[datetime, float]]


def hit_chart(curve: Sequence[tuple[datetime, int, int]], since: datetime, until: datetime, width: int) -> Markup:
    """Return a bar of hits and misses per span of `width` seconds, with the hit rate in its tooltip."""
    most = max((hits + misses for _, hits, misses in curve), default=1)
    frame = TimeAxes(since, until, most, timedelta(seconds=width), whole=True)
    parts = [*frame.grid("")]
    for at, hits, misses in curve:
        left, right = frame.x(at), frame.x(at + timedelta(seconds=width))
        thick = max(right - left - 1.5, 1.5)
        rate = hits / (hits + misses)
        counts = f"{number(hits, 'hit')}, {misses} {'miss' if misses == 1 else 'misses'}"
        title = _title(at, f"{counts}, hit rate {rate:.0%}")
        bars = [(frame.y(hits), frame.y(0), "hit"), (frame.y(hits + misses), frame.y(hits), "miss")]
        drawn = "".join(
            f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{thick:.1f}" height="{bottom - top:.1f}"/>'
            for top, bottom, kind in bars
            if bottom - top > 0
        )
        parts.append(f"<g>{title}{drawn}</g>")
    return time_chart(frame, parts, "Hits and misses over time", "" if curve else _NO_CLAIMS)


def rate_chart(curve: Sequence[tuple[datetime, int, int]], since: datetime, until: datetime, width: int) -> Markup:
    """Return the hit rate over time; a span without requests has no point."""
    points = [(at, 100.0 * hits / (hits + misses)) for at, hits, misses in curve]
    frame = TimeAxes(since, until, 100, timedelta(seconds=width))
    parts = _lines(frame, [("rate", "hit rate", points)], width, "%")
    return time_chart(frame, parts, "Hit rate over time", "" if curve else _NO_CLAIMS)


def ready_chart(p50: Points, p95: Points, since: datetime, until: datetime, width: int) -> Markup:
    """Return two curves of the seconds from a start until the workspace was ready: median and 95th percentile."""
    most = max((value for _, value in (*p50, *p95)), default=1)
    frame = TimeAxes(since, until, most, timedelta(seconds=width), whole=not p50)
    parts = _lines(frame, [("p95", "p95", p95), ("p50", "p50", p50)], width, " s")
    return time_chart(frame, parts, "Time to ready over time", "" if p50 else "No build succeeded in this period.")


def stock_chart(stock: Points, desired: Sequence[SizeSpan], since: datetime, until: datetime, width: int) -> Markup:
    """Return the eligible prebuilds over time, and the desired size as steps."""
    most = max([*(value for _, value in stock), *(span.desired for span in desired), 1])
    frame = TimeAxes(since, until, most, timedelta(seconds=width), whole=True)
    steps = " ".join(
        f"{frame.x(at):.1f},{frame.y(span.desired):.1f}" for span in desired for at in (span.since, span.until)
    )
    line = f'<polyline class="line desired" points="{steps}"/>'
    parts = _lines(frame, [("eligible", "eligible", stock)], width, "", line)
    return time_chart(frame, parts, "Eligible and desired over time")


def amount_chart(points: Points, since: datetime, until: datetime, width: int, what: str) -> Markup:
    """Return a bar per point, up to the next one, which comes within `width` seconds; `what` is the amounts' noun."""
    most = max((value for _, value in points), default=0.0)
    frame = TimeAxes(since, until, most or 1, timedelta(seconds=width), whole=not most)
    parts = [*frame.grid("")]
    ends = [*(at for at, _ in points[1:]), until]
    for (at, value), end in zip(points if most else (), ends, strict=False):
        left, top = frame.x(at), frame.y(value)
        thick = max(frame.x(end) - left - 1.5, 1.5)
        title = _title(at, f"{what} {value:,.2f}")
        box = f'x="{left:.1f}" y="{top:.1f}" width="{thick:.1f}" height="{max(frame.y(0) - top, 0):.1f}"'
        parts.append(f'<rect class="cost" {box}>{title}</rect>')
    return time_chart(frame, parts, f"{what} over time", "" if most else _NO_IDLE)


def heat_chart(cells: Sequence[Sequence[int]], kind: str, one: str, what: str) -> Markup:
    """Return a heat map of the week by hour: the higher the count, the more opaque the cell.

    `kind` is the CSS class of the colour, `one` and `what` are the noun for the things counted, in both numbers.
    """
    most = max(max(row) for row in cells)
    left, top = 40, 20
    parts = []
    for hour in range(0, 24, 3):
        x = left + hour * (_CELL + _GAP) + _CELL / 2
        parts.append(f'<text class="tick" x="{x:.0f}" y="12" text-anchor="middle">{hour:02}</text>')
    for day, row in enumerate(cells):
        y = top + day * (_CELL + _GAP)
        parts.append(
            f'<text class="tick" x="{left - 8}" y="{y + _CELL * 0.68:.0f}" text-anchor="end">{DAYS[day]}</text>'
        )
        for hour, count in enumerate(row):
            x = left + hour * (_CELL + _GAP)
            title = (
                f"<title>{DAYS[day]} {hour:02}:00-{hour:02}:59: {count} {escape(one if count == 1 else what)}</title>"
            )
            box = f'x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" rx="4"'
            parts.append(f'<g>{title}<rect class="cell" {box}/>')
            if count:
                parts.append(f'<rect class="{kind}" {box} fill-opacity="{0.15 + 0.85 * count / most:.2f}"/>')
            parts.append("</g>")
    width, height = left + 24 * (_CELL + _GAP), top + 7 * (_CELL + _GAP)
    return svg(width, height, parts, f"{what} by weekday and hour")


def bar_chart(bars: Sequence[tuple[str, float, str]], what: str) -> Markup:
    """Return a horizontal bar for each (name, value, label of the value); `what` describes the chart."""
    most = max((value for _, value, _ in bars), default=0)
    if not most:
        return Markup('<p class="quiet">{}</p>').format(_NO_IDLE)
    names = [escaped(name) for name, _, _ in bars]
    left = 10 + min(300, max(map(len, names)) * 8)
    parts, labels = [], cut_names(names, _LABEL)
    for row, (_, value, value_label) in enumerate(bars):
        y = row * _BAR_SPACE + 6
        length = max((WIDTH - left - 140) * value / most, 1)
        middle = y + _BAR * 0.72
        label = f"<title>{escape(names[row])}</title>{escape(labels[row])}"
        parts += [
            f'<text class="name" x="{left - 10}" y="{middle:.0f}" text-anchor="end">{label}</text>',
            f'<rect class="hit" x="{left}" y="{y}" width="{length:.1f}" height="{_BAR}" rx="4"/>',
            f'<text class="name" x="{left + length + 8:.1f}" y="{middle:.0f}">{escape(value_label)}</text>',
        ]
    return svg(WIDTH, len(bars) * _BAR_SPACE + 4, parts, what)


class TimeAxes:
    """Map times and values to positions in a chart over time."""

    def __init__(
        self,
        since: datetime,
        until: datetime,
        most: float,
        margin: timedelta = timedelta(),
        *,
        whole: bool = False,
        height: float = _HEIGHT,
    ) -> None:
        """Make a frame for values from 0 to `most`; with `whole`, its grid has no fractions."""
        # A point stands for the span that begins at it, which may begin before `since`.
        self.since, self.until = since - margin, until
        most = float(f"{most:.4g}")  # an excess that cannot be seen needs no line of its own
        self.step = _step(most, whole=whole)
        self.steps = max(ceil(most / self.step), 1)
        self.most = self.steps * self.step
        self.height = height

    def x(self, at: datetime) -> float:
        """Return the place of an instant; one outside the frame is at its edge."""
        share = (at - self.since) / (self.until - self.since)
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(share, 0.0), 1.0)

    def y(self, value: float) -> float:
        """Return the place of a value."""
        return self.height - _BOTTOM - (self.height - _TOP - _BOTTOM) * value / self.most

    def grid(self, unit: str) -> Iterator[str]:
        """Yield the lines of the grid with their values, and the times."""
        yield from self.lines(unit)
        yield from self.times()

    def lines(self, unit: str = "") -> Iterator[str]:
        """Yield a line for each round value, with the value."""
        # As many decimals in each label, so that no 0 stands beside 0.5.
        decimals = max(len(f"{line * self.step:g}".partition(".")[2]) for line in range(self.steps + 1))
        for line in range(self.steps + 1):
            value = line * self.step
            y = self.y(value)
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            label = f"{value:.{decimals}f}{escape(unit)}"
            yield f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'

    def times(self, mark: str = "") -> Iterator[str]:
        """Yield round times in UTC, each with a `mark` at x = 0. The script of a page redraws them in another zone."""
        low = f'y="{self.height - 26:.0f}"'
        yield f'<text class="tick" data-zone="" x="{LEFT}" y="{self.height - 4:.0f}">UTC</text>'
        every = next((t for t in _TICKS if (self.until - self.since) / t <= _TICKS_MAX), _TICKS[-1])
        tick_format = "%H:%M" if every < timedelta(days=1) else "%a %d %b" if every == timedelta(days=1) else "%d %b"
        since, until = ((at - _EPOCH) // _MS for at in (self.since, self.until))
        yield f'<g data-since="{since}" data-until="{until}" data-every="{every // _MS}"'
        yield f' data-left="{LEFT}" data-right="{WIDTH - RIGHT}">'
        at = self.since + (-(self.since - _EPOCH) % every)
        while at < self.until:
            if LEFT + _MARGIN < self.x(at) < WIDTH - RIGHT - _MARGIN:
                text = f'<text class="tick" x="0" {low} text-anchor="middle">{at:{tick_format}}{_title(at)}</text>'
                yield f'<g transform="translate({self.x(at):.1f})">{mark}{text}</g>'
            at += every
        yield "</g>"


def time_chart(frame: TimeAxes, parts: Sequence[str], label: str, nothing: str = "") -> Markup:
    """Return a drawing over time; `nothing` is the sentence of one without data, which stands between its lines."""
    if not nothing:
        return svg(WIDTH, frame.height, parts, label)
    middle = f'x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{frame.y((frame.steps // 2 + 0.5) * frame.step) + 5:.0f}"'
    text = f'<text class="nothing" {middle} text-anchor="middle">{escape(nothing)}</text>'
    return svg(WIDTH, frame.height, [*parts, text], f"{label}. {nothing}")


def _lines(
    frame: TimeAxes, series: Sequence[tuple[str, str, Points]], width: int, unit: str, below: str = ""
) -> list[str]:
    """Draw a grid and lines over time; `below` is markup that they cover."""
    span = timedelta(seconds=width)

    def x(at: datetime) -> float:
        # The middle of its span; a point whose data begin later stands where they begin.
        return frame.x(max(at, at - (at - _EPOCH) % span + span / 2))

    parts = [*frame.grid(unit), below]
    for kind, _, line in series:
        for run in _runs(line, 2 * span):
            path = " ".join(f"{x(at):.1f},{frame.y(value):.1f}" for at, value in run)
            parts.append(f'<polyline class="line {kind}" points="{path}"/>')
    for kind, name, line in series:
        for at, value in line:
            title = _title(at, f"{name} {value:.3g}{unit}")
            spot = f'cx="{x(at):.1f}" cy="{frame.y(value):.1f}" r="3"'
            parts.append(f'<circle class="{kind}" {spot}>{title}</circle>')
    return parts


def _title(at: datetime, text: str = "") -> str:
    """Return a tooltip about an instant."""
    return f"<title>{at:%a %Y-%m-%d %H:%M} UTC{escape(f': {text}' if text else '')}</title>"


def _runs(line: Points, gap: timedelta) -> list[list[tuple[datetime, float]]]:
    """Split a line wherever more than `gap` lies between two points, so that no line is drawn across missing data."""
    runs: list[list[tuple[datetime, float]]] = []
    for point in line:
        if runs and point[0] - runs[-1][-1][0] <= gap:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _step(most: float, *, whole: bool) -> float:
    """Return a round distance between grid lines, so that there are four or five of them."""
    rough = max(most, 1e-9) / 4
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return max(ceil(step), 1) if whole else step


def svg(width: float, height: float, parts: Sequence[str], label: str) -> Markup:
    """Return a drawing. `parts` are markup, `label` is its title.

    The label is an attribute too, because not every reader of screens reads titles, and a reference to the title would
    need an id.
    """
    inside = f"<title>{escape(label)}</title>{''.join(parts)}"
    text = f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(label)}">{inside}</svg>'
    return Markup(text)  # noqa: S704 - what is not a number in it is escaped
