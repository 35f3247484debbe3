"""The list of workspaces, and the forms that give them back and extend them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight import read_workspace
from prebuild_tasks.insight.history import read_history
from tests.support.api import Api
from tests.support.browser import Browser
from tests.support.builders import declare, fill
from tests.support.organizations import fill_organizations

ROWS = re.compile(r'<tr id="workspace-[^"]+">\s*<th scope="row"><a href="([^"]+)">')
KEY = re.compile(r'name="key" value="([^"]+)"')
HERS = "/workspaces/ada/hers"


@pytest.fixture
def stocked(database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    claim(database, ClaimRequest(owner="ada", presets=["dev/small"], name="hers"))
    claim(database, ClaimRequest(owner="bob", presets=["ops/small"], name="his"))


@pytest.fixture
def ending(database: Database, settings: Settings) -> datetime:
    """A claimed workspace that has an end."""
    declare(database, settings, 1, extra="claimed_ttl: 8h")
    fill(database, settings)
    claim(database, ClaimRequest(owner="ada", presets=["dev/small"], name="hers"))
    return end_of_hers(database)


def end_of_hers(database: Database) -> datetime:
    until = read_workspace(database, "ada/hers").claimed_until
    assert until
    return until


@pytest.mark.usefixtures("stocked")
def test_the_list_and_its_filters(browser: Browser) -> None:
    browser.log_in()
    assert len(ROWS.findall(browser.get("/workspaces").text)) == 4
    assert ROWS.findall(browser.get("/workspaces?owner=ada").text) == [HERS]
    assert ROWS.findall(browser.get("/workspaces?preset=ops/small&owner=").text) == ["/workspaces/bob/his"]
    assert len(ROWS.findall(browser.get("/workspaces?owner=prebuilds&state=ready").text)) == 2
    assert "No workspace matches." in browser.get("/workspaces?owner=nobody").text
    assert browser.get("/workspaces?preset=no/such").status_code == 404
    assert browser.get("/workspaces?state=lost").status_code == 400


@pytest.mark.usefixtures("stocked")
def test_the_list_goes_on_by_the_cursors_of_the_api(browser: Browser) -> None:
    browser.log_in()
    whole, path, pages = ROWS.findall(browser.get("/workspaces").text), "/workspaces?limit=3&state=", 0
    shown: list[str] = []
    while path:
        page = browser.get(path).text
        shown += ROWS.findall(page)
        following = re.search(r'<a rel="next" href="([^"]+)">', page)
        path, pages = following[1].replace("&amp;", "&") if following else "", pages + 1
    assert (shown, pages) == (whole, 2)
    assert browser.get("/workspaces?cursor=xyz").status_code == 400


@pytest.mark.usefixtures("stocked")
def test_only_what_is_within_reach(api: Api) -> None:
    for restriction, seen in (
        ({"organization": "umbrella"}, ["/workspaces/bob/his"]),
        ({"presets": ("ops/small",)}, ["/workspaces/bob/his"]),
        ({"owner": "ada"}, [HERS]),
    ):
        browser = Browser(api).log_in(api.token("claim", **restriction))
        assert ROWS.findall(browser.get("/workspaces").text) == seen
        other = "/workspaces/bob/his" if seen == [HERS] else HERS
        assert browser.get(other).status_code == 404
        for action in ("release", "extend"):
            assert browser.submit(f"{other}/{action}", {"confirm": "yes", "duration": "1h"}).status_code == 404


@pytest.mark.usefixtures("stocked")
def test_who_only_reads_gets_no_button(api: Api, database: Database) -> None:
    browser = Browser(api).log_in(api.token("read"))
    for path in ("/workspaces", HERS):
        assert "/release" not in browser.get(path).text
    for action in ("release", "extend"):
        assert browser.submit(f"{HERS}/{action}", {"confirm": "yes"}).status_code == 403
    assert read_workspace(database, "ada/hers").state == "usable"


@pytest.mark.usefixtures("stocked")
def test_a_release_is_confirmed_first(browser: Browser, database: Database) -> None:
    browser.log_in()
    assert f'action="{HERS}/release"' in browser.get("/workspaces").text
    asked = browser.submit(f"{HERS}/release")
    assert asked.status_code == 200
    assert "Release ada/hers?" in asked.text
    assert '<button class="danger" name="confirm"' in asked.text
    assert read_workspace(database, "ada/hers").state == "usable"
    identity = re.search(r'name="id" value="([^"]+)"', asked.text)
    assert identity
    answer = browser.submit(f"{HERS}/release", {"confirm": "yes", "id": identity[1]})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/workspaces?done=released")
    assert read_workspace(database, "ada/hers").state == "deleting"
    assert "The workspace is being deleted." in browser.get("/workspaces?done=released").text
    released = next(event for event in read_history(database, "ada/hers") if event.event == "released")
    assert (released.actor_kind, released.actor_subject) == ("token", "ada")
    assert "released" in browser.get(HERS).text


@pytest.mark.usefixtures("stocked")
def test_a_release_is_of_the_workspace_that_was_shown(browser: Browser, database: Database) -> None:
    other = read_workspace(database, "bob/his").id
    answer = browser.log_in().submit(f"{HERS}/release", {"confirm": "yes", "id": other})
    assert answer.status_code == 404
    assert read_workspace(database, "ada/hers").state == "usable"


@pytest.mark.usefixtures("stocked")
def test_a_prebuild_is_not_released(browser: Browser) -> None:
    prebuild = next(path for path in ROWS.findall(browser.log_in().get("/workspaces").text) if "prebuilds" in path)
    assert "/release" not in browser.get(prebuild).text
    assert browser.submit(f"{prebuild}/release", {"confirm": "yes"}).status_code == 409


def test_an_extension_by_a_duration_is_made_once(browser: Browser, database: Database, ending: datetime) -> None:
    asked = browser.log_in().submit(f"{HERS}/extend")
    key = KEY.search(asked.text)
    assert asked.status_code == 200
    assert key
    assert end_of_hers(database) == ending
    for _ in range(2):
        answer = browser.submit(f"{HERS}/extend", {"confirm": "yes", "key": key[1], "duration": "2h"})
        assert (answer.status_code, answer.headers["Location"]) == (303, f"{HERS}?done=extended")
    assert end_of_hers(database) == ending + timedelta(hours=2)


def test_an_extension_is_of_the_workspace_that_was_shown(
    browser: Browser, database: Database, ending: datetime
) -> None:
    """It was of whichever workspace had the name when the form came back."""
    shown = read_workspace(database, "ada/hers").id
    assert f'name="id" value="{shown}"' in browser.log_in().submit(f"{HERS}/extend").text
    answer = browser.submit(f"{HERS}/extend", {"confirm": "yes", "duration": "2h", "id": "another"})
    assert (answer.status_code, "is another workspace by now" in answer.text) == (409, True)
    assert end_of_hers(database) == ending


@pytest.mark.parametrize("offset", ["", "Z", "+00:00"])
def test_an_extension_until_an_instant_is_in_utc(
    browser: Browser, database: Database, ending: datetime, offset: str
) -> None:
    until = (ending + timedelta(days=2)).replace(second=0, microsecond=0)
    fields = {"confirm": "yes", "duration": "", "until": f"{until:%Y-%m-%dT%H:%M}{offset and ':00' + offset}"}
    assert browser.log_in().submit(f"{HERS}/extend", fields).status_code == 303
    assert end_of_hers(database) == until.astimezone(UTC)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"duration": "1h", "until": "2190-01-01T00:00"},
        {"duration": "soon"},
        {"until": "4102444800"},
        {"until": "2001-01-01T00:00"},
        {"duration": '"><script>alert(1)</script>'},
    ],
)
def test_a_wrong_end_is_asked_for_again(
    browser: Browser, database: Database, ending: datetime, fields: dict[str, str]
) -> None:
    answer = browser.log_in().submit(f"{HERS}/extend", {"confirm": "yes", **fields})
    assert answer.status_code == 422
    assert "Not extended: " in answer.text
    assert "<script>alert" not in answer.text
    assert end_of_hers(database) == ending


@pytest.mark.usefixtures("stocked")
def test_what_has_no_end_is_not_extended(browser: Browser) -> None:
    answer = browser.log_in().submit(f"{HERS}/extend", {"confirm": "yes", "duration": "1h"})
    assert answer.status_code == 409
    assert "hers has no end" in answer.text.lower()
