"""The journeys of people through the pages, each with JavaScript and without."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Route, expect

from prebuild_tasks.access.types import Scope
from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.provisioners import Provisioners
from tests.support.builders import build_all, declare, fill, staffed, turn, workspaces
from tests.support.chromium import Visitor
from tests.support.door import portal
from tests.support.pool_files import load_text
from tests.support.wait import wait_until
from tests.web.browser.served import Served

pytestmark = pytest.mark.browser

POOLS = """
schema: 1
templates:
  - {name: dev, provisioner: simulated, config: {}, presets: [{name: small, desired: 2, claimed_ttl: 8h}]}
"""
POOL = "dev/small"
VISIBLE_MS = 1500
"""A change is visible this soon."""
with_and_without_script = pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])


@pytest.fixture
def stocked(served: Served) -> Served:
    """A full pool, and workers that could refill it."""
    served.doors.asked(lambda *where: apply(*where, load_text(POOLS), ApplyOptions(actor="test")))
    served.doors.asked(staffed)
    refill(served)
    return served


def refill(served: Served) -> None:
    served.doors.asked(lambda *where: fill(*where, POOL))


def claim(served: Served, owner: str) -> str:
    """Claim a workspace over HTTP, and return its name."""
    with portal(served.url, served.token(Scope.CLAIM, f"claims-for-{owner}", any_owner=True)) as client:
        answer = client.post("/v1/claims", json={"owner": owner, "presets": [POOL]})
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["workspace"])


def eligible(visits: Visitor, number: int) -> Locator:
    return visits.page.locator(f"[data-pool='{POOL}'][data-eligible='{number}']")


def see(visits: Visitor, element: Locator, *, javascript: bool, within: float = 30_000) -> None:
    """Wait until the element is there: by itself, or without JavaScript when the page is loaded again.

    A page that is loaded may show what was read a second ago.
    """

    def is_there_again() -> bool:
        visits.page.reload()
        return element.is_visible()

    if javascript:
        element.wait_for(timeout=within)
    else:
        wait_until(is_there_again, timeout=within / 1000 + 5, what="the element")


@with_and_without_script
@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_a_pool_goes_short_and_is_full_again(stocked: Served, javascript: bool) -> None:
    visits = stocked.logged_in(Scope.READ, javascript=javascript)
    eligible(visits, 2).wait_for()
    if javascript:
        visits.page.locator("#connection.live").wait_for()
        visits.run("window.loadedOnce = true")
    claim(stocked, "ada")
    see(visits, eligible(visits, 1), javascript=javascript, within=VISIBLE_MS)
    expect(visits.page.locator("#pools-summary")).to_have_text("1 in all, 1 short")
    refill(stocked)
    see(visits, eligible(visits, 2), javascript=javascript, within=VISIBLE_MS)
    expect(visits.page.locator("#pools-summary")).to_have_text("1 in all, 0 short")
    assert not javascript or visits.run("window.loadedOnce"), "nothing was loaded again"


@with_and_without_script
def test_a_pause_with_a_reason_is_in_the_history(stocked: Served, javascript: bool) -> None:
    visits = stocked.logged_in(Scope.OPERATE, name="grace", javascript=javascript)
    page = visits.page
    page.get_by_role("link", name=POOL).click()
    page.get_by_label("Reason").fill("the registry moves <today>")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Pause {POOL}?")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".flash")).to_have_text("The pool is paused.")
    page.get_by_role("link", name="History").click()
    row = page.locator("#history tr").filter(has_text="the registry moves <today>")
    expect(row).to_contain_text("grace")
    expect(row).to_contain_text("paused")
    page.get_by_role("link", name="Pools").click()
    expect(page.locator(f"[data-pool='{POOL}'] .badge")).to_have_text("paused")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file without which the start script waits. It is there at the latest at the end of the test."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


@with_and_without_script
def test_the_output_of_a_build_is_followed(served: Served, gate: Path, javascript: bool) -> None:
    script = f"printf '\\033[32mfirst\\033[0m <b>line</b>\\n'; until test -e {gate}; do sleep 0.1; done; echo the end"
    visits = with_build_open(served, script, javascript=javascript)
    page = visits.page
    log, status = page.locator("#log"), page.locator("#build-status")
    with building(served, gate):
        again(visits, lambda: "first" in log.inner_text(), javascript=javascript)
        expect(log.locator(".fg-2")).to_have_text("first")
        expect(log).to_contain_text("<b>line</b>")
        expect(status).to_have_text("running")
        gate.touch()
        again(visits, lambda: "the end" in log.inner_text(), javascript=javascript)
        again(visits, lambda: status.inner_text() == "succeeded", javascript=javascript)


def test_the_state_of_a_silent_build_is_followed(served: Served, gate: Path) -> None:
    visits = with_build_open(served, f"until test -e {gate}; do sleep 0.1; done")
    status = visits.page.locator("#build-status")
    expect(status).to_have_text("pending")
    refusals = iter([True, True])

    def refuse(route: Route) -> None:
        """Refuse the page of the build twice, so that its state is asked for again."""
        if next(refusals, False):
            route.fulfill(status=503, body="")
        else:
            route.continue_()

    visits.page.route(re.compile(r"/builds/[\w-]+$"), refuse)
    with building(served, gate):
        expect(status).to_have_text("running")
        refusals = iter([True, True])
        gate.touch()
        expect(status).to_have_text("succeeded")
    expect(visits.page.locator("#log-state")).to_have_text("It wrote nothing, or what it wrote is no longer kept.")
    visits.complaints.clear()  # of the refusals


def with_build_open(served: Served, script: str, *, javascript: bool = True) -> Visitor:
    """Return a page that shows a build of a start script, which has not begun."""
    served.doors.asked(lambda *where: declare(*where, desired=1, start=script))
    served.doors.asked(staffed)
    served.doors.asked(turn)
    visits = served.logged_in(Scope.READ, javascript=javascript)
    visits.page.get_by_role("link", name="Builds").click()
    visits.page.locator("#builds th a").click()
    return visits


@contextmanager
def building(served: Served, gate: Path) -> Iterator[None]:
    """Let all builds run meanwhile."""

    def build(database: Database, settings: Settings) -> None:
        runner = BuildRunner(database, settings, Provisioners(settings))
        try:
            build_all(database, runner)
        finally:
            runner.close()

    builder = threading.Thread(target=lambda: served.doors.asked(build))
    builder.start()
    try:
        yield
    finally:
        gate.touch()
        builder.join(60)


def again(visits: Visitor, condition: Callable[[], bool], *, javascript: bool) -> None:
    """Wait for a condition; without JavaScript, load the page again for each look."""
    for _ in range(300):
        if condition():
            return
        visits.page.wait_for_timeout(100)
        if not javascript:
            visits.page.reload()
    raise AssertionError("it did not happen")


@with_and_without_script
def test_a_workspace_is_released(stocked: Served, javascript: bool) -> None:
    name = claim(stocked, "ada")
    visits = stocked.logged_in(Scope.CLAIM, owner="ada", javascript=javascript)
    page = visits.page
    page.get_by_role("link", name="Workspaces").click()
    page.get_by_role("button", name=f"Release ada/{name}").click()
    expect(page.get_by_role("main")).to_contain_text("with all files in it")
    page.get_by_role("button", name="Release").click()
    expect(page.locator(".flash")).to_have_text("The workspace is being deleted.")
    [row] = stocked.doors.asked(lambda database, _: [w for w in workspaces(database) if w.owner == "ada"])
    assert (row.name, row.transition) == (name, "delete")


@with_and_without_script
def test_a_token_that_only_reads_is_refused(stocked: Served, javascript: bool) -> None:
    visits = stocked.logged_in(Scope.READ, javascript=javascript)
    page = visits.page
    form_token = page.locator("[name=form_token]").first.input_value()
    page.get_by_role("link", name=POOL).click()
    page.get_by_role("heading", name=POOL, level=1).wait_for()
    assert page.get_by_role("button").all_inner_texts() == ["Log out"]
    answer = page.request.post(
        f"{stocked.url}/pools/{POOL}/pause", form={"form_token": form_token, "confirm": "yes"},
        headers={"Origin": stocked.url},
    )  # fmt: skip
    assert answer.status == 403
    assert "operate" in answer.text()
    page.reload()
    expect(page.locator("#pool-head .badge")).to_have_text("full")


def test_a_journey_by_keyboard_alone(stocked: Served) -> None:
    """From the log-in to a pause: every element is reached by Tab, shows that it has the focus, and acts by Enter."""
    visits = stocked.visitor()
    page = visits.page
    visits.open(f"{stocked.url}/pools")
    page.keyboard.type(stocked.token(Scope.OPERATE))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{stocked.url}/pools")
    page.locator("#connection.live").wait_for()
    page.keyboard.press("Tab")
    assert focused(visits) == "Skip to the content"
    page.keyboard.press("Enter")
    tab_to(visits, POOL)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=POOL, level=1).wait_for()
    tab_to(visits, "reason")
    page.keyboard.type("upgrade")
    tab_to(visits, "Pause")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=f"Pause {POOL}?").wait_for()
    tab_to(visits, "Pause")
    page.keyboard.press("Enter")
    expect(page.locator(".flash")).to_have_text("The pool is paused.")


def focused(visits: Visitor) -> str:
    """Return the text, or else the name, of what has the focus; it must be visibly focused."""
    text, outline = visits.run("""(() => {
        const {activeElement: it} = document;
        return [it.innerText?.trim() || it.name || it.tagName, getComputedStyle(it).outlineStyle];
    })()""")
    assert outline != "none", text
    return str(text)


def tab_to(visits: Visitor, text: str) -> None:
    for _ in range(60):
        visits.page.keyboard.press("Tab")
        if focused(visits) == text:
            return
    raise AssertionError(f"{text!r} is not reached by Tab")
