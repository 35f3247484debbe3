"""Hostile names, parameters, reasons and outputs: every page shows them as text, and none of them at full length."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, literal, select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, BuildStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from tests.support.browser import Browser
from tests.support.builders import fill, finish_builds, staffed, turn
from tests.support.markup import Markup
from tests.support.pool_files import load_text

MARK = "hostile"
"""Stands in every text, so that it can be told that a page shows it."""
SHORT = {
    "script": f"{MARK}\"'><script>alert(1)<&script><img src=x onerror=alert(1)>{{{{ 7*7 }}}}",
    "bidi": f"{MARK}\u202egnp.exe\u2066x",
    "control": f"{MARK}\x1b[2J\x07\x08\x9b31m\x7f",
}
LINE = MARK + "z" * 10_000_000
RAW = re.compile("<script>alert|<img src=x|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
POOLS = """
schema: 1
templates:
  - name: dev
    provisioner: simulated
    config: {}
    presets: [{name: full, desired: 1, parameters: {NAME: value}}, {name: broken, desired: 1}]
"""
LONGEST_PAGE = 1_500_000
"""Characters: an output begins with the last million of them."""


def stock(database: Database, settings: Settings, text: str) -> None:
    """Make one of everything, and bring the text wherever the installation takes prose: errors and outputs."""
    apply(database, settings, load_text(POOLS), ApplyOptions(actor="test"))
    staffed(database, settings)
    fill(database, settings, "dev/full")
    claim(database, ClaimRequest(owner="ada", presets=["dev/full"], name="hers"))
    turn(database, settings, "dev/broken")
    finish_builds(database, status=BuildStatus.FAILED, error=text)
    claim(database, ClaimRequest(owner="bob", presets=["dev/full"], wait=True))
    with database.write() as connection:
        now = datetime.now(UTC)
        for build in connection.execute(select(m.Build.id)).scalars().all():
            values = {"build_id": build, "attempt": 1, "seq": 1, "text": f"{text}\n", "at": now}
            connection.execute(insert(m.BuildLog).values(values))


def rewrite(database: Database, text: str) -> None:
    """Bring the text wherever people, workers and hosts are named, and into the parameters, as no command would."""
    pause(database, "dev/full", actor="eve", reason=text)
    with database.write() as connection:
        for table, columns in (
            (m.Organization, ("name",)),
            (m.PresetParameter, ("name", "value")),
            (m.Build, ("initiator", "reason", "queue", "runner")),
            (m.History, ("actor", "actor_name", "actor_subject", "reason")),
            (m.Worker, ("host", "version")),
            (m.Preset, ("last_error",)),
            (m.Workspace, ("host", "reason")),
        ):
            connection.execute(update(table).values(dict.fromkeys(columns, text)))
        connection.execute(update(m.Worker).values(queues=[text]))


def rename(database: Database, text: str) -> None:
    """Let the names of pools, workspaces and owners begin with the text. Their own pages then have no address."""
    with database.write() as connection:
        for column in (m.Template.name, m.TemplateVersion.name, m.Preset.name, m.Workspace.name, m.Workspace.owner):
            renamed = update(column.class_).values({column: literal(text) + column})
            is_prebuild = column.key == "owner"
            connection.execute(renamed.where(column != PREBUILDS_OWNER) if is_prebuild else renamed)
        connection.execute(update(m.History).values(owner=text, workspace=text))


def pages(browser: Browser, database: Database, *, lists_only: bool = False) -> dict[str, str]:
    """Load every page that shows such a text."""
    with database.read() as connection:
        builds = [str(build) for build in connection.execute(select(m.Build.id)).scalars()]
    paths = ["/pools", "/workspaces", "/waiting", "/builds", "/workers", "/history", "/health", "/report"]
    paths += [*(f"/builds/{build}" for build in builds), f"/builds/{builds[0]}/log"]
    if not lists_only:
        paths += ["/pools/dev/full", "/pools/dev/broken", "/workspaces/ada/hers"]
    answers = {path: browser.get(path) for path in paths}
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(paths, 200)
    return {path: answer.text for path, answer in answers.items()}


def require_text(pages: dict[str, str]) -> None:
    for path, page in pages.items():
        assert (path, RAW.findall(page)) == (path, [])
        assert (path, ">49<" in page) == (path, False)
        if path != "/pools":  # whose rows leave out the end tags that HTML does not need
            assert (path, Markup(page).wrong) == (path, [])


@pytest.mark.parametrize("kind", SHORT)
def test_hostile_texts_are_shown_as_text(browser: Browser, database: Database, settings: Settings, kind: str) -> None:
    stock(database, settings, SHORT[kind])
    rewrite(database, SHORT[kind])
    browser.log_in()
    own = pages(browser, database)
    require_text(own)
    rename(database, SHORT[kind])
    listed = pages(browser, database, lists_only=True)
    require_text(listed)
    assert [path for path in own if MARK not in own[path] + listed.get(path, "")] == []


def test_lines_of_ten_megabytes_are_cut(browser: Browser, database: Database, settings: Settings) -> None:
    stock(database, settings, LINE)
    for path, page in pages(browser.log_in(), database).items():
        assert (path, len(page) < LONGEST_PAGE) == (path, True)


def test_a_name_that_nothing_has_is_shown_in_part(browser: Browser) -> None:
    answer = browser.log_in().get(f"/pools/dev/{'z' * 3000}")
    assert answer.status_code == 404
    assert "z" * 200 in answer.text
    assert "z" * 301 not in answer.text
