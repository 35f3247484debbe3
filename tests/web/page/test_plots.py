"""The plots and the schedule of one pool: their numbers, and drawings that hold them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from sqlalchemy import event

import prebuild_tasks
from prebuild_tasks.access import EVERYTHING, Reach
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError
from prebuild_tasks.insight import PoolCurves, PoolWeek, SizeSpan, compile_report, pool_curves, pool_week
from prebuild_tasks.web.charts import TimeAxes
from prebuild_tasks.web.page.bands import week_band
from prebuild_tasks.web.page.plots import Plot, PlotKey, PlotTable, plots
from tests.support.builders import PRESET, declare
from tests.support.past import PastEvents, two_busy_days

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
AT = datetime(2026, 3, 28, 10, 40, tzinfo=UTC)  # the clocks of Berlin change in the night that follows
TEMPLATES = Path(prebuild_tasks.__file__).parent / "web" / "templates" / "page"
EVIL = "<script>alert(1)</script>\u202e\x00"


def curves(database: Database, settings: Settings, period: timedelta = DAY) -> PoolCurves:
    return pool_curves(database, settings, EVERYTHING, PRESET, period)


def drawing(plot: Plot) -> ET.Element:
    """Return the drawing, after a look at what every drawing must be."""
    root = ET.fromstring(plot.drawing)
    assert "style" not in {name for element in root.iter() for name in element.attrib}
    assert {element.tag for element in root.iter()} <= {
        "svg",
        "g",
        "title",
        "text",
        "line",
        "rect",
        "polyline",
        "circle",
    }
    assert (root[0].tag, root[0].text) == ("title", root.get("aria-label"))
    assert root[0].text
    assert root.get("role") == "img"
    _, _, width, height = (float(n) for n in root.get("viewBox", "").split())
    for name, most in (("x", width), ("cx", width), ("x2", width), ("y", height), ("cy", height), ("height", height)):
        values = [float(element.get(name, "0")) for element in root.iter()]
        assert 0 <= min(values) <= max(values) <= most, name
    return root


def texts(root: ET.Element, css_class: str) -> list[str]:
    return [element.text or "" for element in root.iter("text") if element.get("class") == css_class]


def test_every_plot_has_a_title_axes_and_the_same_numbers_as_a_table(database: Database, settings: Settings) -> None:
    two_busy_days(database, settings)
    for period in (DAY, 7 * DAY):
        made = plots(curves(database, settings, period))
        titles = ["Eligible and desired", "Claims and misses", "Hit rate", "Time to ready"]
        assert [plot.title for plot in made][:4] == titles
        assert made[4].title in ("Idle cost", "Idle hours")
        for plot in made:
            ticks = texts(drawing(plot), "tick")
            assert "UTC" in ticks
            assert len(ticks) > 5, "values and times"
            assert plot.table.headings[0] == "From"
            assert plot.table.rows
            assert {len(row) for row in plot.table.rows} == {len(plot.table.headings)}


def figure(plot: Plot) -> tuple[str, ET.Element]:
    """Return the figure as text, and read as XML."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.filters["time"] = lambda at: f"<{at}>"
    html = environment.get_template("plots.html.j2").module.figure(plot)  # type: ignore[attr-defined]
    return html, ET.fromstring(html.replace("\x00", ""))


def test_a_figure_without_numbers_has_a_table_that_says_so() -> None:
    _, root = figure(Plot("Hit rate", Markup("<svg></svg>"), PlotTable(("From", "Hits", "Misses"), ())))
    assert "".join(root.find("details/summary").itertext()) == "As a table: Hit rate"  # type: ignore[union-attr]
    [cell] = root.findall("details/table/tbody/tr/*")
    assert (cell.tag, cell.get("colspan"), cell.text) == ("td", "3", "Nothing in this period.")


def test_a_figure_holds_the_drawing_and_the_table() -> None:
    table = PlotTable(("From", EVIL), ((AT, "1"), ("Sat", EVIL)))
    html, root = figure(Plot(EVIL, Markup("<svg></svg>"), table, (PlotKey("hit", EVIL),), EVIL))
    assert [element.tag for element in root.iter() if element.tag in ("svg", "script")] == ["svg"]
    assert html.count("&lt;script&gt;") == 8
    assert f"&lt;{AT}&gt;" in html
    assert "style=" not in html


def test_claims_are_those_of_the_report(database: Database, settings: Settings) -> None:
    two_busy_days(database, settings)
    report = compile_report(database, settings, since=lambda now: now - 7 * DAY, preset=PRESET)
    made = curves(database, settings, 7 * DAY)
    assert sum(hits for _, hits, _ in made.hits) == report.total.hits > 0
    assert sum(misses for _, _, misses in made.hits) == report.total.misses
    assert [value for _, value in made.ready] == [value for _, value in report.ready_curve]
    assert sum(point.idle_hours for point in made.stock) == pytest.approx(report.total.idle_hours)


def test_stock_is_the_mean_of_each_span(database: Database, settings: Settings) -> None:
    declare(database, settings, 2, extra="cost_per_hour: 0.5")
    past = PastEvents(database)
    past.installed(past.now - 30 * DAY)
    begin = (past.now - 20 * HOUR).replace(minute=0, second=0, microsecond=0)
    past.workspace(begin - 3 * DAY, ready=begin - 2 * DAY, claimed=begin + HOUR / 2)
    past.workspace(begin, ready=begin + HOUR / 4, gone=begin + 2 * HOUR)
    past.workspace(begin, ready=begin + 3 * HOUR)
    past.workspace(begin, ready=None)
    past.write()
    made = curves(database, settings)
    stock = {point.at: point for point in made.stock}
    means = [stock[begin + n * HOUR].eligible for n in range(-1, 5)]
    assert means == pytest.approx([1, 0.5 + 0.75, 1, 0, 1, 1], abs=0.001)
    assert stock[begin].idle_cost == pytest.approx(1.25 * 0.5, abs=0.001)
    assert made.stock[-1].eligible == pytest.approx(1, abs=0.01), "a span that is not over counts as far as it is"
    assert made.stock[0].eligible == pytest.approx(1, abs=0.01)
    assert [span.desired for span in made.desired] == [2]
    assert plots(made)[0].table.rows[-1][1:] == ("1.0", "2")


def test_a_pool_without_a_past_has_empty_axes_with_a_sentence(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    sentences = []
    for plot in plots(curves(database, settings)):
        root = drawing(plot)
        ticks = texts(root, "tick")
        assert "UTC" in ticks
        assert len(ticks) > 5, "values and times"
        assert [element for element in root.iter() if element.get("class") in ("hit", "miss", "cost", "rate")] == []
        sentences += texts(root, "nothing") or [""]
        assert (root.get("aria-label") or "").endswith(sentences[-1])
    assert sentences == [
        "",
        "There were no claims in this period.",
        "There were no claims in this period.",
        "No build succeeded in this period.",
        "No prebuild was idle in this period.",
    ]


def rows_from(plot: Plot) -> datetime:
    """Return where the rows of a table begin."""
    first = plot.table.rows[0][0]
    assert isinstance(first, datetime)
    return first


@pytest.mark.parametrize("later", [timedelta(), 5 * HOUR])
def test_eligible_begins_with_the_data(database: Database, settings: Settings, later: timedelta) -> None:
    """An installation of ten hours, with a pool from then on or that was declared later, has no 0 before."""
    declare(database, settings, 2)
    past = PastEvents(database)
    installed = (past.now - 10 * HOUR).replace(minute=20, second=30)
    past.installed(installed)
    begin = installed + later
    past.declared(begin)
    past.workspace(begin, ready=begin + HOUR)
    past.write()
    for period, width in ((DAY, HOUR), (7 * DAY, 3 * HOUR)):
        made = curves(database, settings, period)
        cause = "the oldest version of this pool was declared" if later else "this installation was created"
        assert made.notes == (f"data since {begin:%Y-%m-%d %H:%M} UTC, when {cause}",)
        eligible, *_, idle = plots(made)
        assert rows_from(eligible) == rows_from(idle) == begin
        assert made.stock[0].at == begin
        assert all((point.at.minute, point.at.second) == (0, 0) for point in made.stock[1:])
        assert made.stock[-1].eligible == pytest.approx(1, abs=0.01)
        frame = TimeAxes(made.since, made.until, 2, width)
        spots = [float(spot.get("cx", "")) for spot in drawing(eligible).iter("circle")]
        assert spots == sorted(spots)
        assert frame.x(begin) - 0.1 <= spots[0] <= frame.x(begin + width / 2)
        bars = [float(bar.get("x", "")) for bar in drawing(idle).iter("rect")]
        assert bars[0] == pytest.approx(frame.x(begin), abs=0.1)
        hours = (made.until - begin) / HOUR - 1
        assert sum(point.idle_hours for point in made.stock) == pytest.approx(hours, abs=0.01)


@pytest.mark.parametrize(("most", "lines"), [(3, 3), (3.0002, 3), (4.0001, 4), (3.01, 4)])
def test_an_axis_has_no_line_for_what_rounding_adds(most: float, lines: int) -> None:
    assert TimeAxes(AT, AT + DAY, most, whole=True).most == lines


def test_a_period_with_all_its_data_has_all_its_eligible(database: Database, settings: Settings) -> None:
    two_busy_days(database, settings)
    made = curves(database, settings)
    assert made.notes == ()
    assert made.stock[0].at == made.since


def test_the_number_of_statements_is_fixed(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    sent: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    curves(database, settings)
    before = len(sent)
    two_busy_days(database, settings)
    sent.clear()
    curves(database, settings, 7 * DAY)
    assert len(sent) == before


@pytest.mark.parametrize("name", ["dev/none", EVIL, "", "dev/small@v9", "ops/small"])
def test_what_is_not_there_or_out_of_reach(database: Database, settings: Settings, name: str) -> None:
    declare(database, settings, 0)
    reach = Reach(presets=("dev/large",))
    for asked, within in ((name, EVERYTHING), (PRESET, reach)):
        with pytest.raises((NotFoundError, InputError)):
            pool_curves(database, settings, within, asked, DAY)
        with pytest.raises((NotFoundError, InputError)):
            pool_week(database, within, asked)


def test_the_week_follows_the_schedules(database: Database, settings: Settings) -> None:
    schedules = 'schedules: [{cron: "* 8-18 * * 1-5", desired: 10}, {cron: "* * * * 6", desired: 0}]'
    declare(database, settings, 1, extra=f"timezone: Europe/Berlin, {schedules}")
    week = pool_week(database, EVERYTHING, PRESET)
    assert (week.base, week.schedules, week.usable, week.timezone) == (1, 2, True, "Europe/Berlin")
    assert [a.until for a in week.spans[:-1]] == [b.since for b in week.spans[1:]]
    assert week.spans[-1].until - week.spans[0].since == timedelta(days=7)
    assert {span.desired for span in week.spans} == {0, 1, 10}
    busy = sum((span.until - span.since for span in week.spans if span.desired == 10), timedelta())
    assert busy == 5 * 11 * HOUR
    root = drawing(plot := week_band(week))
    assert texts(root, "size").count("10") >= 5
    assert any(re.fullmatch(r"[A-Z][a-z]{2} \d\d [A-Z][a-z]{2}", text) for text in texts(root, "tick"))
    assert len(plot.table.rows) == len(week.spans)
    assert plot.note == "1 while no schedule applies. The schedules go by the clocks of Europe/Berlin."


def band(*spans: tuple[int, int, int], timezone: str = "UTC", schedules: int = 1, usable: bool = True) -> Plot:
    made = tuple(SizeSpan(AT + a * HOUR, AT + b * HOUR, desired) for a, b, desired in spans)
    return week_band(PoolWeek(made, timezone, 3, schedules, usable))


def test_a_band_has_a_line_at_each_midnight_and_what_the_script_redraws_it_from() -> None:
    plot = band((0, 24, 3), (24, 168, 200), timezone="Europe/Berlin")
    root = drawing(plot)
    days = [text for text in texts(root, "tick") if " " in text]
    assert days == [f"{day} Mar" for day in ("Sun 29", "Mon 30", "Tue 31")] + [
        f"{day} Apr" for day in ("Wed 01", "Thu 02", "Fri 03", "Sat 04")
    ]
    [axis] = [element for element in root.iter("g") if "data-since" in element.attrib]
    assert [int(axis.get(f"data-{name}", "")) / 3.6e6 for name in ("since", "until", "every")] == [
        AT.timestamp() / 3600, AT.timestamp() / 3600 + 168, 24,
    ]  # fmt: skip
    assert [[child.tag for child in tick] for tick in axis] == [["line", "text"]] * 7
    assert plot.table.rows[0] == (AT, AT + 24 * HOUR, "3")
    assert "<title>Sat 2026-03-28 10:40 UTC to Sun 2026-03-29 10:40 UTC: 3</title>" in plot.drawing


@pytest.mark.parametrize(
    ("plot", "note"),
    [
        (band((0, 168, 3), schedules=0), "It has no schedules: 3 at all times."),
        (band((0, 168, 3), timezone=EVIL, usable=False), "Its schedules are ignored:"),
        (band((0, 168, 0)), "3 while"),
    ],
)
def test_bands_of_pools_without_usable_schedules(plot: Plot, note: str) -> None:
    assert plot.note.startswith(note)
    assert "<script" not in plot.drawing
    assert "\u202e" not in plot.title + plot.drawing
    root = drawing(plot)
    assert len([text for text in texts(root, "tick") if " " in text]) == 7, "the days"
    sentences = ["No prebuild is desired in the coming week."] if plot.table.rows[0][2] == "0" else []
    assert texts(root, "nothing") == sentences
    assert ("night" in plot.drawing) is not bool(sentences), "no line crosses the sentence"
