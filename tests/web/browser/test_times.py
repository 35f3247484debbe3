"""Times in Chromium: those of the viewer's zone, with UTC on hover."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from prebuild_tasks import clock
from prebuild_tasks.access.types import Scope
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from tests.support.chromium import ZONE, Visitor
from tests.support.lively import BUSY, PAUSED, make_lively
from tests.web.browser.served import Served

pytestmark = pytest.mark.browser

SHOWN = """() => [...document.querySelectorAll("details")].forEach((one) => one.open = true) ?? document.body.innerText
  + [...document.querySelectorAll("svg text")].map((text) => text.firstChild.data).join("\\n")"""
IN_UTC = re.compile(r".*(?:\bUTC\b|\d\d:\d\d(?::\d\d)?Z|\+00:00|Europe/|America/).*")


@pytest.fixture
def lively(served: Served) -> Served:
    served.doors.asked(make_lively)
    return served


def in_utc(visits: Visitor) -> list[str]:
    """Return the lines on the page that show an instant by other clocks than the viewer's."""
    return [line for line in IN_UTC.findall(visits.run(SHOWN)) if "go by the clocks of" not in line]


@pytest.mark.timeout(300)
def test_no_page_shows_other_clocks_than_the_viewers(lively: Served) -> None:
    visits = lively.logged_in(Scope.ADMIN)
    visits.page.locator("#connection.live").wait_for()
    wrong = {"/pools": in_utc(visits)}
    for path in (f"/pools/{BUSY}", f"/pools/{PAUSED}", "/history", "/waiting", "/workspaces", "/workers"):
        visits.open(lively.url + path)
        wrong[path] = in_utc(visits)
    visits.open(f"{lively.url}/pools/{PAUSED}")
    visits.page.get_by_role("button", name="Resume").click()
    wrong["resume"] = in_utc(visits)
    visits.open(f"{lively.url}/pools/{BUSY}")
    visits.page.get_by_label("Until").fill("2060-01-02T03:04")
    visits.page.get_by_role("button", name="Pause").click()
    wrong["pause"] = in_utc(visits)
    assert {path: lines for path, lines in wrong.items() if lines} == {}


def test_a_field_goes_by_the_viewers_clock(lively: Served) -> None:
    visits = lively.logged_in(Scope.ADMIN)
    page = visits.page
    local = (
        (clock.utcnow() + timedelta(days=3)).astimezone(ZoneInfo(ZONE)).replace(second=0, microsecond=0, tzinfo=None)
    )
    visits.open(f"{lively.url}/pools/{BUSY}")
    field = page.get_by_label(re.compile(r"Until \(Asia/(Kolkata|Calcutta)\)"))
    field.fill(f"{local:%Y-%m-%dT%H:%M}")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".effects")).to_contain_text(f"until {local.day} {local:%b}, {local:%H:%M}")
    assert field.input_value()[:16] == f"{local:%Y-%m-%dT%H:%M}"
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".flash")).to_have_text("The pool is paused.")
    expect(page.locator("#pool-why")).to_contain_text(f"until {local.day} {local:%b}, {local:%H:%M}")

    def stored(database: Database, _: object) -> object:
        with database.read() as connection:
            query = select(m.Preset.paused).where(m.Preset.name == BUSY.partition("/")[2], m.Preset.paused.is_not(None))
            return connection.execute(query).scalars().first()

    assert lively.doors.asked(stored)["until"] == local.replace(tzinfo=ZoneInfo(ZONE)).astimezone(UTC).isoformat()


def test_plots_have_the_round_times_of_the_viewers_zone(lively: Served) -> None:
    visits = lively.logged_in(Scope.ADMIN)
    visits.open(f"{lively.url}/pools/{BUSY}")
    labels = visits.run("""[...document.querySelectorAll("[data-since] text")].map(
      (text) => [text.firstChild.data, text.lastChild.textContent])""")
    assert len(labels) > 40
    for label, title in labels:
        at = datetime.strptime(title, "%Y-%m-%d %H:%M UTC").replace(tzinfo=UTC).astimezone(ZoneInfo(ZONE))
        assert at.minute == 0
        assert label in (f"{at:%H:%M}", f"{at:%a %d %b}", f"{at:%a, %d %b}")
        assert ":" in label or at.hour == 0
    assert set(visits.run('[...document.querySelectorAll("svg [data-zone]")].map((one) => one.textContent)')) == {
        "GMT+5:30"
    }
    bars = visits.run("""[...document.querySelectorAll("circle title, g > title")].map((title) => title.textContent)""")
    assert all(re.match(r"(\d+ \w+, )?\d\d:\d\d \(\w{3} [\d-]+ [\d:]+ UTC\)", title) for title in bars)
    titles = visits.run('[...document.querySelectorAll("svg[role=img]")].map((one) => one.firstChild.textContent)')
    assert len(titles) == 11
    assert titles[:2] == ["Desired size in the coming week", "Eligible and desired over time"]


AXIS = """(zone) => {
  document.body.innerHTML = `<svg><g data-since="${Date.parse("2026-03-28T10:40Z")}"
    data-until="${Date.parse("2026-04-04T10:40Z")}" data-every="86400000" data-left="0" data-right="1680"
    ><g transform="translate(0)"><line/><text>Sun 29 Mar<title></title></text></g></g></svg>`;
  showTimes(document);
  return [...document.querySelectorAll("text")].map((text) => [text.firstChild.data, text.lastChild.textContent]);
}"""


@pytest.mark.parametrize(
    ("zone", "midnights"),
    [("Europe/Berlin", ["23:00", *["22:00"] * 6]), ("America/New_York", ["04:00"] * 7), ("UTC", ["00:00"] * 7)],
)
def test_an_axis_has_each_local_midnight_once(served: Served, zone: str, midnights: list[str]) -> None:
    """The clocks of Berlin change in the night to the 29th of March."""
    visits = served.visitor(zone=zone)
    visits.open(f"{served.url}/login")
    labels = visits.run(f"({AXIS})()")
    assert [title[11:16] for _, title in labels] == midnights
    assert [label[:3] for label, _ in labels] == ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]


def test_a_time_of_today_gets_its_date_when_the_day_is_over(lively: Served) -> None:
    visits = lively.logged_in(Scope.ADMIN)
    times = visits.page.locator("main tbody time").first
    visits.page.clock.install(time=clock.utcnow())
    visits.open(f"{lively.url}/history")
    expect(times).to_have_text(re.compile(r"\d\d:\d\d"))
    visits.page.clock.fast_forward("25:00:00")
    expect(times).to_have_text(re.compile(r"\d+ \w+, \d\d:\d\d"))
