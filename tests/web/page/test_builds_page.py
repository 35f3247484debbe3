"""The list of builds, and the output of one of them, which goes on after a cursor."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight import LogPage, build_log
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.web.page import builds
from prebuild_tasks.web.page.builds import LOG_SHOWN
from tests.support.api import Api
from tests.support.browser import Browser
from tests.support.builders import declare, turn, workspaces
from tests.support.organizations import fill_organizations

PIECE = re.compile(
    r'<span class="piece" data-after="([^"]+)" data-facts="[^"]+"( data-ended)?>(.*?)</span>(?:</pre>|\s*\Z)', re.DOTALL
)
FACTS = re.compile('data-facts="([^"]+)"')
BUILDS = re.compile(r'<tr id="build-([^"]+)">')


@pytest.fixture
def build(database: Database, settings: Settings) -> str:
    """A build that has not ended."""
    declare(database, settings, 1)
    turn(database, settings)
    [row] = workspaces(database)
    with database.read() as connection:
        return str(connection.execute(m.Build.__table__.select().where(m.Build.workspace_id == row.id)).one().id)


def write(database: Database, build: str, number: int, text: str, attempt: int = 1) -> None:
    with database.write() as connection:
        values = {"build_id": build, "attempt": attempt, "seq": number, "text": text, "at": datetime.now(UTC)}
        connection.execute(insert(m.BuildLog).values(values))


def end(database: Database, build: str) -> None:
    with database.write() as connection:
        connection.execute(update(m.Build).where(m.Build.id == build).values(status=BuildStatus.SUCCEEDED))


def piece(page: str) -> tuple[str, bool, str]:
    """Return the cursor of what follows, whether nothing does, and the markup."""
    match = PIECE.search(page)
    assert match
    return match[1], bool(match[2]), match[3]


def test_the_list_and_its_filters(browser: Browser, database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    browser.log_in()
    everything = BUILDS.findall(browser.get("/builds").text)
    assert len(everything) == 4
    assert BUILDS.findall(browser.get("/builds?status=succeeded&preset=").text) == everything
    assert len(BUILDS.findall(browser.get("/builds?preset=ops/small").text)) == 1
    assert "No build matches." in browser.get("/builds?status=failed").text
    assert browser.get("/builds?status=odd").status_code == 400
    first = browser.get("/builds?limit=3").text
    following = re.search(r'<a rel="next" href="([^"]+)">', first)
    assert following
    rest = BUILDS.findall(browser.get(following[1].replace("&amp;", "&")).text)
    assert [*BUILDS.findall(first), *rest] == everything


def test_only_builds_within_reach(api: Api, database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    everything = BUILDS.findall(Browser(api).log_in().get("/builds").text)
    seen = {
        restriction["organization"]: Browser(api).log_in(api.token("read", **restriction))
        for restriction in ({"organization": "acme"}, {"organization": "umbrella"})
    }
    lists = {name: BUILDS.findall(browser.get("/builds").text) for name, browser in seen.items()}
    assert (len(lists["acme"]), len(lists["umbrella"])) == (3, 1)
    assert sorted([*lists["acme"], *lists["umbrella"]]) == sorted(everything)
    for path in ("", "/log"):
        assert seen["umbrella"].get(f"/builds/{lists['acme'][0]}{path}").status_code == 404
        assert seen["acme"].get(f"/builds/{lists['acme'][0]}{path}").status_code == 200


def test_an_output_goes_on_after_its_cursor(browser: Browser, database: Database, build: str) -> None:
    write(database, build, 1, "one\n")
    page = browser.log_in().get(f"/builds/{build}").text
    assert f'id="log" tabindex="0" aria-labelledby="log-heading" data-follow="/builds/{build}/log"' in page
    assert "The build has not ended" in page
    after, ended, markup = piece(page)
    assert (after.split(".")[:2], ended, markup) == (["1", "1"], False, "one\n")
    write(database, build, 2, "two\n")
    write(database, build, 1, "again\n", attempt=2)
    after, ended, markup = piece(browser.get(f"/builds/{build}/log?after={after}").text)
    assert (after.split(".")[:2], ended, markup) == (["2", "1"], False, "two\nagain\n")
    end(database, build)
    assert piece(browser.get(f"/builds/{build}/log?after={after}").text) == (after, True, "")
    assert piece(browser.get(f"/builds/{build}/log?after=1.1").text)[2] == "two\nagain\n"
    whole = browser.get(f"/builds/{build}").text
    assert piece(whole)[1:] == (True, "one\ntwo\nagain\n")
    assert "The build has not ended" not in whole


def test_a_piece_tells_that_the_facts_have_changed(browser: Browser, database: Database, build: str) -> None:
    """A build that wrote nothing yet was shown as pending, live, until its first line came."""
    assert FACTS.findall(browser.log_in().get(f"/builds/{build}").text) == ["pending.0"]
    with database.write() as connection:
        connection.execute(update(m.Build).values(status=BuildStatus.RUNNING, attempt=1))
    assert FACTS.findall(browser.get(f"/builds/{build}/log?after=0.0").text) == ["running.1"]


def test_a_build_that_ends_while_its_page_is_read_is_shown_as_ended(
    browser: Browser, database: Database, build: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that has all of the output is not followed, so it would show what was before for ever."""

    def read(*args: object) -> LogPage:
        end(database, build)
        return build_log(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(builds, "build_log", read)
    page = browser.log_in().get(f"/builds/{build}").text
    assert piece(page)[1]
    assert '<span id="build-status"><span class="badge succeeded">succeeded</span></span>' in page


def test_colors_and_lines_go_on_from_piece_to_piece(browser: Browser, database: Database, build: str) -> None:
    browser.log_in()
    write(database, build, 1, "\x1b[1;31mred")
    after, _, markup = piece(browser.get(f"/builds/{build}").text)
    assert markup == '<span class="fg-1 bold">red</span>'
    write(database, build, 2, " still\x1b[94;4")
    after, _, markup = piece(browser.get(f"/builds/{build}/log?after={after}").text)
    assert markup == '<span class="fg-1 bold"> still</span>'
    write(database, build, 3, "2m" + "x" * 5000)
    after, _, markup = piece(browser.get(f"/builds/{build}/log?after={after}").text)
    assert markup == f'<span class="fg-12 bg-2 bold">{"x" * 3991}</span>'
    write(database, build, 4, "y\x1b[0m\nplain")
    _, _, markup = piece(browser.get(f"/builds/{build}/log?after={after}").text)
    assert markup == '<span class="cut">… 1010 more characters</span>\nplain'


@pytest.mark.parametrize(
    "cursor",
    ["x", "1", "1.x", "-1.1", "1.1.x", "1.1.0.0.a", "1.1.0.1;2.", "1.1.0.0", "1.1.0.0.0.0", "9999999999.1"],
)  # fmt: skip
def test_a_wrong_cursor_is_refused(browser: Browser, build: str, cursor: str) -> None:
    assert browser.log_in().get(f"/builds/{build}/log?after={cursor}").status_code == 400


def test_a_hostile_output_is_text(browser: Browser, database: Database, build: str) -> None:
    write(database, build, 1, '</pre><script>alert(1)</script>\u202e\x1b]0;title\x07\x1b[31m<b onclick="x">\x1b[2J\x00')
    page = browser.log_in().get(f"/builds/{build}").text
    assert "<script>alert" not in page
    assert "<b onclick" not in page
    assert not re.search("[\x00\x1b\u202e]", page)
    assert "\\u202e" in page


def test_a_long_output_begins_with_its_end(browser: Browser, database: Database, build: str) -> None:
    write(database, build, 1, "a line of an output\n" * (LOG_SHOWN // 10))
    page = browser.log_in().get(f"/builds/{build}").text
    assert "characters are not shown" in page
    assert len(piece(page)[2]) <= LOG_SHOWN + 20
    assert piece(page)[2].startswith("a line")


def test_a_line_of_ten_megabytes_is_folded(browser: Browser, database: Database, build: str) -> None:
    write(database, build, 1, "z" * 10_000_000 + "\nend")
    page = browser.log_in().get(f"/builds/{build}").text
    assert len(page) < 100_000
    assert "more characters" in page
    assert page.count("end") >= 1


@pytest.mark.parametrize("name", ["nothing", "00000000-0000-0000-0000-000000000000", "%3Cscript%3E"])
def test_no_such_build(browser: Browser, name: str) -> None:
    for path in ("", "/log"):
        answer = browser.log_in().get(f"/builds/{name}{path}")
        assert (answer.status_code, "<script>" in answer.text) == (404, False)
