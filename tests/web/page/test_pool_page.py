"""The page of one pool."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight import explain_preset, read_history
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.remedy_commands import spell
from prebuild_tasks.schema import tables as m
from prebuild_tasks.web.page.actions import ACTIONS
from prebuild_tasks.web.page.render import templates
from tests.support.api import Api
from tests.support.browser import Browser
from tests.support.builders import (
    PRESET,
    declare,
    declare_simulated,
    fill,
    finish_builds,
    later_schedule,
    staffed,
    turn,
)
from tests.support.organizations import fill_organizations

PATH = "/pools/dev/small"
HOSTILE = "<script>alert(1)</script>\u202e\x1b[2J"


def text_of(page: str) -> str:
    """Return the text of a page, with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))


@pytest.fixture
def filled(database: Database, settings: Settings) -> None:
    declare_simulated(database, settings, extra=later_schedule(database, 4))
    staffed(database, settings)
    fill(database, settings)


@pytest.mark.usefixtures("filled")
def test_the_chain_and_the_steps_are_those_of_explain(browser: Browser, database: Database, settings: Settings) -> None:
    pause(database, PRESET, actor="ada", reason="cost")
    with database.write() as connection:
        connection.execute(update(m.Preset).values(desired=5))
    page = browser.log_in().get(PATH).text
    why = explain_preset(database, settings, None, PRESET).explanation
    text = text_of(page)
    for link in why.chain:
        assert templates().from_string("{{ x }}").render(x=link.sentence.split(" (in ")[0].split(" since ")[0]) in text
    assert "paused by ada" in page
    assert page.count("the reason</span>") == 1
    for step in why.steps:
        assert f"<code>{spell(step.remedy)}</code>" in page
    assert "data-pool" not in page


@pytest.mark.usefixtures("filled")
def test_the_plots_the_week_the_prebuilds_and_the_builds(browser: Browser) -> None:
    page = browser.log_in().get(PATH).text
    for title in ("Eligible and desired", "Claims and misses", "Time to ready", "Hit rate"):
        assert page.count(f"<h3>{title}</h3>") == 2
    assert page.count("<h3>Idle ") == 2
    assert '<h2 id="period-1">The last day</h2>' in page
    assert "Desired size in the coming week" in page
    assert page.count("As a table") == page.count("<svg viewBox") == 11, "each as a drawing and as a table"
    assert page.count('href="/workspaces/prebuilds/') == 2
    assert page.count('class="badge ready"') == 2
    assert re.search(r'href="/builds/[0-9a-f-]{36}"', page)
    assert 'class="badge succeeded"' in page
    assert "style=" not in page
    assert '<h2 id="versions">' not in page, "there is one"


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(("path", "drawings", "bars"), [("/pools", 0, 1), (PATH, 11, 1), ("/report", 5, 0)])
def test_a_drawing_has_a_title_and_a_bar_beside_its_numbers_is_hidden(
    browser: Browser, path: str, drawings: int, bars: int
) -> None:
    page = browser.log_in().get(path).text
    titled = re.findall(r'<svg [^>]*role="img" aria-label="([^"]+)"><title>\1</title>', page)
    hidden = re.findall(r"<svg aria-hidden=true", page)
    assert len(titled) >= drawings
    assert len(hidden) == bars
    assert len(titled) + len(hidden) == page.count("<svg")


@pytest.mark.usefixtures("filled")
def test_probes_and_ages(browser: Browser, database: Database) -> None:
    with database.write() as connection:
        now = database.now(connection)
        old = {"created_at": now - timedelta(hours=3, minutes=1)}
        connection.execute(update(m.Workspace).values(old))
        ids = connection.execute(m.Workspace.__table__.select()).scalars().all()
        connection.execute(m.ProbeState.__table__.delete())
        probes = [
            {"workspace_id": ids[0], "next_at": now, "failures": 2, "message": HOSTILE},
            {"workspace_id": ids[1], "next_at": now, "unanswered_since": now - timedelta(minutes=5)},
        ]
        for probe in probes:
            connection.execute(insert(m.ProbeState).values(**probe))
    page = browser.log_in().get(PATH).text
    assert '<span class="badge failed">failed</span> 2 in a row' in page
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert '<span class="badge unanswered">unanswered</span> for 5 min' in page
    assert page.count("3 h 1 min") == 2


@pytest.mark.parametrize(("state", "outcome"), [("missing_since", "missing"), ("condemned_at", "lost")])
@pytest.mark.usefixtures("filled")
def test_prebuilds_that_are_not_there(browser: Browser, database: Database, state: str, outcome: str) -> None:
    with database.write() as connection:
        now = database.now(connection)
        connection.execute(m.ProbeState.__table__.delete())
        ids = connection.execute(m.Workspace.__table__.select()).scalars().all()
        row = {"workspace_id": ids[0], "next_at": now, state: now}
        connection.execute(insert(m.ProbeState).values(**row))
    assert f'class="badge {outcome}"' in browser.log_in().get(PATH).text


def test_versions_while_rolling(browser: Browser, database: Database, settings: Settings) -> None:
    rolling = "replace: {strategy: rolling, max_surge: 1}"
    declare_simulated(database, settings, extra=rolling)
    staffed(database, settings)
    fill(database, settings)
    declare_simulated(database, settings, config="{ready_after: 1s}", extra=rolling)
    page = browser.log_in().get(PATH).text
    assert '<h2 id="versions">' in page
    versions = page[page.index('id="pool-versions"') : page.index('id="pool-members"')]
    assert versions.count('<th scope="row">') == 2
    assert versions.count('<span class="badge full">active</span>') == 1
    assert '<td data-label="Ready" class="number">2</td>' in versions


def test_versions_count_only_the_pool(browser: Browser, database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    page = browser.log_in().get("/pools/dev/large").text
    assert "dev/small" not in page


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    "path",
    [
        "/pools/dev/none", "/pools/none/small", "/pools/dev/small%00", "/pools/%00/small", "/pools/dev/small@v9",
        "/pools/dev", "/pools/dev/small/", "/pools/dev/small/pause", "/pools/dev/small%0a", "/pools/dev/%E2%80%AE",
        "/pools/dev/%3Cscript%3Ealert(1)%3C%2Fscript", "/pools/dev/%20",
        f"/pools/dev/{'x' * 3000}",
    ],
)  # fmt: skip
def test_what_does_not_exist_is_a_page_that_says_so(browser: Browser, path: str) -> None:
    answer = browser.log_in().get(path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<script>alert" not in answer.text
    assert "\x00" not in answer.text
    assert "\u202e" not in answer.text


def test_what_is_out_of_reach_looks_as_if_it_did_not_exist(api: Api, database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    browser = Browser(api).log_in(api.token("read", organization="umbrella"))
    assert browser.get("/pools/ops/small").status_code == 200
    hidden, absent = browser.get(PATH), browser.get("/pools/dev/nothing")
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert text_of(hidden.text).split("Request")[0] == text_of(absent.text).split("Request")[0].replace(
        "dev/nothing", "dev/small"
    )
    owner = Browser(api).log_in(api.token("claim", owner="bob", organization="umbrella"))
    assert "Change</h2>" not in owner.get("/pools/ops/small").text


def test_the_number_of_statements_does_not_grow(browser: Browser, database: Database, settings: Settings) -> None:
    declare_simulated(database, settings, 1)
    staffed(database, settings)
    fill(database, settings)
    browser.log_in()
    sent: list[str] = []

    def statements() -> int:
        assert browser.is_logged_in  # so that the session is remembered
        sent.clear()
        assert browser.get(PATH).status_code == 200
        return len(sent)

    event.listen(
        browser.api.runtime.database.engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2])
    )
    statements()
    before = statements()
    declare_simulated(database, settings, 9)
    fill(database, settings)
    assert 0 < statements() <= before


def test_a_pool_that_waits_for_a_person_has_its_button_beside_the_step(
    browser: Browser, database: Database, settings: Settings
) -> None:
    declare(database, settings, 1)
    staffed(database, settings)
    turn(database, settings)
    finish_builds(database)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=PresetStatus.HARD_LIMITED, failures_in_row=5, desired=3))
    page = browser.log_in().get(PATH).text
    steps = page[page.index('<ol class="steps">') : page.index('id="pool-actions"')]
    assert "<code>prebuild unblock dev/small</code>" in steps
    assert f'<form method="post" action="{PATH}/unblock">' in steps
    reader = Browser(browser.api).log_in(browser.api.token("read")).get(PATH).text
    assert "<code>prebuild unblock dev/small</code>" in reader
    assert f"{PATH}/unblock" not in reader


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("of_everything", [False, True])
def test_no_two_buttons_have_the_same_name(browser: Browser, database: Database, of_everything: bool) -> None:
    pause(database, "" if of_everything else PRESET, actor="ada")
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status=PresetStatus.HARD_LIMITED, failures_in_row=5, desired=3))
    page = browser.log_in().get(PATH).text
    names = [text_of(name).strip() for name in re.findall(r"<button[^>]*>(.*?)</button>", page, re.DOTALL)]
    assert {"Resume all" if of_everything else "Resume", "Unblock", "Invalidate"} <= {*names}
    assert len(names) == len({*names})


@pytest.mark.usefixtures("filled")
def test_a_diagnosis_leads_to_the_health_for_who_may_see_it(browser: Browser) -> None:
    diagnosis = re.compile(r'<div><code>prebuild doctor</code>.*?</div>\s*(?:<a class="button" href="([^"]+)">)?')
    page = browser.log_in().get(PATH).text  # Redis does not answer
    assert diagnosis.findall(page) == ["/health"]
    limited = Browser(browser.api).log_in(browser.api.token("read", organization="default"))
    assert diagnosis.findall(limited.get(PATH).text) == [""]


def test_a_pool_without_anything(browser: Browser, database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    page = browser.log_in().get(PATH).text
    assert "It has no prebuilds." in page
    assert "It has had no builds" in page
    assert "No prebuild is desired in the coming week." in page
    assert page.count("<svg viewBox") == page.count("As a table") == 11
    assert page.count("Nothing in this period.") == 2 * len(("claims", "hit rate", "time to ready"))


@pytest.mark.parametrize("name", [action.name for action in ACTIONS])
def test_no_button_reaches_what_is_out_of_reach(api: Api, database: Database, settings: Settings, name: str) -> None:
    fill_organizations(database, settings)
    browser = Browser(api).log_in(api.token("operate", organization="umbrella"))
    before = read_history(database)
    for path in (PATH, "/pools/dev/none", "/pools/dev/small%00", "/pools/%3Cscript%3E/x"):
        for fields in ({}, {"confirm": "yes"}):
            answer = browser.submit(f"{path}/{name}", fields)
            assert answer.status_code == 404
            assert "<script>" not in answer.text.replace("<script src", "")
    assert read_history(database) == before
    assert browser.submit(f"/pools/ops/small/{name}").status_code == 200
