"""The pages about the installation: who waits, the workers, the history, the health and the report."""

from __future__ import annotations

import re
from html import unescape

import pytest
from sqlalchemy import insert, select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight import diagnose, examine
from prebuild_tasks.messaging import BUILDS
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.remedy_commands import next_step
from prebuild_tasks.schema import tables as m
from prebuild_tasks.start_commands import usual_start_commands
from tests.support.api import Api, serving
from tests.support.browser import Browser
from tests.support.builders import declare, fill, finish_builds, staffed
from tests.support.organizations import fill_organizations
from tests.support.strays import hold_back

HOSTILE = '"><script>alert(1)</script>\u202e\x1b[2J'
WAITING = re.compile(r'<tr id="waiting-[^"]+">\s*<th scope="row">([^<]+)</th>')
PLACES = re.compile(r'<td data-label="Place"><span>(\d+) in the queue')
EVENTS = re.compile(r'<td data-label="Event"><span>([^<]+)</span>')


@pytest.fixture
def organizations(database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)


@pytest.fixture
def waiting(database: Database, settings: Settings) -> None:
    """Two people who wait, and a pool whose starts are known to take no time."""
    declare(database, settings, 1)
    fill(database, settings)
    claim(database, ClaimRequest(owner="eve", presets=["dev/small"], name="taken"))
    finish_builds(database)
    for owner in ("ada", "bob"):
        claim(database, ClaimRequest(owner=owner, presets=["dev/small"], wait=True))


def test_ages_show_their_instant_on_hover(browser: Browser, database: Database, settings: Settings) -> None:
    staffed(database, settings)
    hovered = re.compile(r'<span title="[\d-]{10} [\d:]{8} UTC">[^<]+ ago</span>')
    browser.log_in()
    assert len(hovered.findall(browser.get("/workers").text)) == 4, "a tick and three processes"
    assert len(hovered.findall(browser.get("/health").text)) == 1


@pytest.mark.usefixtures("waiting")
def test_who_waits_has_a_place_and_an_expected_time(browser: Browser, database: Database) -> None:
    page = browser.log_in().get("/waiting").text
    assert WAITING.findall(page) == ["ada", "bob"]
    assert PLACES.findall(page) == ["1", "2"]
    assert page.count('<td data-label="Expected"><span><time') == 2
    with database.write() as connection:
        first = m.Build.id.in_(
            m.Build.__table__.select().with_only_columns(m.Build.id).where(m.Build.initiator == "ada")
        )
        connection.execute(update(m.Build).where(first).values(status=BuildStatus.RUNNING))
        connection.execute(update(m.Workspace).where(m.Workspace.owner == "ada").values(status=BuildStatus.RUNNING))
    page = browser.get("/waiting").text
    assert PLACES.findall(page) == ["1"]
    assert ">being built</a>" in page
    finish_builds(database)
    assert WAITING.findall(browser.get("/waiting").text) == ["ada"]


@pytest.mark.usefixtures("waiting")
def test_only_who_waits_within_reach(api: Api) -> None:
    assert WAITING.findall(Browser(api).log_in(api.token("read", owner="bob")).get("/waiting").text) == ["bob"]
    assert WAITING.findall(Browser(api).log_in(api.token("read", presets=("dev/x",))).get("/waiting").text) == []


def test_workers_and_their_queues(browser: Browser, database: Database, settings: Settings) -> None:
    staffed(database, settings, "worker", "builds")
    with database.write() as connection:
        connection.execute(
            update(m.Worker).where(m.Worker.role == "builds").values(host="gone<b>", ended_at=m.Worker.seen_at)
        )
    declare(database, settings, 1)
    page = browser.log_in().get("/workers").text
    assert 'role="alert">Redis does not answer' in page
    assert '<span class="badge full">running</span>' in page
    assert '<span class="badge failed">gone</span>' in page
    assert "gone&lt;b&gt;" in page
    assert page.index("gone&lt;b&gt;") < page.index(f'<th scope="row">{settings.host}</th>')
    assert f'<th scope="row">{settings.queue(BUILDS)}</th>' in page


def test_strays_that_wait_can_be_confirmed_where_they_are_counted(browser: Browser, database: Database) -> None:
    command, form = "<code>prebuild sweep --confirm</code>", '<form method="post" action="/sweep/confirm">'
    page = browser.log_in().get("/workers").text
    assert command not in page
    assert form not in page
    with database.write() as connection:
        hold_back(connection, database.now(connection), 60)
    with serving(database, browser.api.runtime.settings) as api:  # whose numbers were not read before
        page = Browser(api).log_in().get("/workers").text
        assert "60 waiting" in page
        assert command in page
        assert form in page
        read = Browser(api).log_in(api.token("read")).get("/workers").text
        assert command in read
        assert form not in read


@pytest.mark.usefixtures("organizations")
def test_the_history_and_its_filters(browser: Browser, database: Database) -> None:
    pause(database, "dev/small", actor="eve", reason=HOSTILE)
    claim(database, ClaimRequest(owner="ada", presets=["dev/small"], name="hers"))
    browser.log_in()
    whole = EVENTS.findall(browser.get("/history").text)
    assert whole.index("claimed") < whole.index("paused") < whole.index("applied")
    page = browser.get("/history?event=paused").text
    assert EVENTS.findall(page) == ["paused"]
    assert "<script>alert" not in page
    assert not re.search("[\x1b\u202e]", page)
    assert "\\u202e" in page
    assert set(EVENTS.findall(browser.get("/history?who=eve").text)) == {"paused"}
    assert "claimed" in EVENTS.findall(browser.get("/history?workspace=ada/hers").text)
    assert EVENTS.findall(browser.get("/history?workspace=no/such").text) == []
    of_pool = EVENTS.findall(browser.get("/history?preset=dev/small").text)
    assert {"paused", "claimed", "applied"} <= {*of_pool}
    assert "token created" not in of_pool
    assert browser.get("/history?preset=no/such").status_code == 404


@pytest.mark.usefixtures("organizations")
def test_the_history_goes_on_by_cursors(browser: Browser) -> None:
    browser.log_in()
    whole, path, shown = EVENTS.findall(browser.get("/history").text), "/history?limit=3&who=", list[str]()
    while path:
        page = browser.get(path).text
        assert len(EVENTS.findall(page)) <= 3
        shown += EVENTS.findall(page)
        following = re.search(r'<a rel="next" href="([^"]+)">', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert shown == whole


@pytest.mark.usefixtures("organizations")
def test_only_events_within_reach(api: Api, database: Database) -> None:
    pause(database, "ops/small", actor="eve")
    pause(database, None, actor="eve")
    claim(database, ClaimRequest(owner="ada", presets=["dev/small"], name="hers"))

    def events(**restriction: object) -> list[str]:
        return EVENTS.findall(Browser(api).log_in(api.token("read", **restriction)).get("/history").text)

    assert not {"token created"} & {*events()}
    acme = events(organization="acme")
    assert acme.count("paused") == 1
    assert not {"applied", "token created"} & {*acme}
    assert events(organization="umbrella").count("paused") == 2
    assert "claimed" in events(owner="ada")
    assert "claimed" not in events(owner="bob")
    browser = Browser(api).log_in(api.token("read", organization="acme"))
    assert browser.get("/history?preset=ops/small").status_code == 404
    assert "token created" in EVENTS.findall(Browser(api).log_in().get("/history").text)


def test_health_has_the_findings_of_doctor(browser: Browser, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    page = browser.log_in().get("/health").text
    codes = re.findall(r'data-finding="([^"]+)"', page)
    runtime = browser.api.runtime
    assert codes == [item.symptom.value for item in diagnose(examine(runtime.database, runtime.settings, None))]
    assert {"redis_unreachable", "no_worker", "no_builds_worker", "no_beat"} <= {*codes}
    assert "secret" not in page


def test_health_has_the_commands_of_doctor(browser: Browser, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    page = browser.log_in().get("/health").text
    runtime = browser.api.runtime
    start = usual_start_commands(runtime.settings)
    shown = [unescape(re.sub("<[^>]+>", "", item)) for item in re.findall(r"Next: (.*?)</p>", page)]
    findings = diagnose(examine(runtime.database, runtime.settings, None))
    assert shown == [next_step(item.hint, item.remedy, start) for item in findings]
    commands = [unescape(item) for item in re.findall(r"Next: .*?<code>(.*?)</code></p>", page)]
    assert start.beat in commands


def test_health_has_the_buttons_of_what_it_advises(browser: Browser, database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    with database.write() as connection:
        now = database.now(connection)
        connection.execute(m.ProbeState.__table__.delete())
        ids = connection.execute(select(m.Workspace.id)).scalars().all()
        doubted = {"workspace_id": ids[0], "next_at": now, "missing_since": now, "waiting": True}
        connection.execute(insert(m.ProbeState).values(doubted))
        blocked = {"status": PresetStatus.HARD_LIMITED, "failures_in_row": 5, "desired": 9}
        connection.execute(update(m.Preset).where(m.Preset.name == "small").values(blocked))
    page = browser.log_in().get("/health").text
    assert 'data-finding="prebuilds_missing"' in page
    for command in ("prebuild sweep --confirm", "prebuild status --problems"):
        assert f"<code>{command}</code>" in page
    assert '<form method="post" action="/sweep/confirm">' in page
    assert '<a class="button" href="/pools">' in page
    pause(database, actor="eve", reason="cost")
    page = browser.get("/health").text
    assert "<code>prebuild resume</code>" in page
    assert '<form method="post" action="/pools/resume">' in page
    reader = Browser(browser.api).log_in(browser.api.token("read")).get("/health").text
    assert "<code>prebuild sweep --confirm</code>" in reader
    assert 'action="/sweep/confirm"' not in reader
    assert 'action="/pools/resume"' not in reader


def test_health_asks_no_provisioner_and_not_this_machine(
    browser: Browser, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(database, settings, 1)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a serving process must not ask this")

    monkeypatch.setattr("prebuild_tasks.insight.doctor.examine.look_at_machine", refuse)
    monkeypatch.setattr("prebuild_tasks.provisioners.Provisioners.get", refuse)
    assert browser.log_in().get("/health").status_code == 200


@pytest.mark.usefixtures("organizations")
def test_the_report_is_of_today_and_live(browser: Browser, database: Database) -> None:
    page = browser.log_in().get("/report").text
    assert '<option value="today" selected>' in page
    assert re.search(r"<b>0</b><span class=\"quiet\">claims</span>", page)
    claim(database, ClaimRequest(owner="ada", presets=["dev/small"], name="hers"))
    page = browser.get("/report").text
    assert re.search(r"<b>1</b><span class=\"quiet\">claims</span>", page)
    assert page.count("<svg viewBox") >= 2
    assert "ops/small" in page
    page = browser.get("/report?period=month&preset=dev/small").text
    assert "ops/small" not in page
    assert '<option value="month" selected>' in page
    assert browser.get("/report?preset=no/such").status_code == 404
    assert browser.get("/report?period=ever").status_code == 400


@pytest.mark.usefixtures("organizations")
def test_who_does_not_see_all_gets_the_report_of_a_pool(api: Api) -> None:
    browser = Browser(api).log_in(api.token("read", organization="acme"))
    page = browser.get("/report").text
    assert "Name a pool." in page
    assert "ops/small" not in page
    assert browser.get("/report?preset=dev/small").status_code == 200
    assert browser.get("/report?preset=ops/small").status_code == 404
