"""The pages and the API tell the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.support.api import Api
from tests.support.browser import Browser
from tests.support.hooked_rows import HookedRows
from tests.support.lively import BUSY, PATHS, make_lively

TAG = re.compile(r"<[^>]+>")
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d|\b\d+ (?:s|min)\b")


@pytest.fixture
def lively(database: Database, settings: Settings, api: Api) -> Browser:
    make_lively(database, settings, hostile=False)
    return Browser(api).log_in()


def items(browser: Browser, path: str) -> list[dict[str, Any]]:
    return list(browser.api.get(path).json()["items"])


def test_the_hooks_of_the_table_are_the_figures_of_the_api(lively: Browser) -> None:
    rows = {row["data-pool"]: row for _, row in HookedRows(lively.get("/pools").text).rows}
    assert {name: (row["data-desired"], row["data-eligible"], row["data-reason"]) for name, row in rows.items()} == {
        pool["preset"]: (str(pool["desired"]), str(pool["eligible"]), pool["reason"] or "none")
        for pool in items(lively, "/v1/pools")
        if "@" not in pool["preset"]  # a version that is being replaced is on the page of its pool
    }
    assert len({row["data-reason"] for row in rows.values()}) >= 4


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith("/pools/") and "really" not in path])
def test_the_page_of_a_pool_has_the_causes_of_explain(lively: Browser, path: str) -> None:
    page = re.sub(r"\s+", " ", unescape(TAG.sub(" ", lively.get(path).text)))
    explained = lively.api.get(f"/v1{path}/explain").json()["chain"]
    chain = [link for link in explained if link["about"] != "turn"]  # without Redis, it tells when Redis was asked
    assert len(chain) >= 2
    for link in chain:
        for words in TIME.split(link["words"]):
            assert words.strip(" (") in page, link


@pytest.mark.parametrize(
    ("path", "what", "name"),
    [
        ("/workspaces", "workspace", lambda row: row["id"]),
        ("/builds", "build", lambda row: row["build"]),
        (f"/builds?preset={BUSY}", "build", lambda row: row["build"]),
    ],
)
def test_lists_have_the_rows_of_the_api(
    lively: Browser, path: str, what: str, name: Callable[[dict[str, Any]], str]
) -> None:
    shown = re.findall(rf'<tr id="{what}-([^"]+)"', lively.get(path).text)
    listed = [name(row) for row in items(lively, f"/v1{path}")]
    assert shown
    assert shown[: len(listed)] == listed[: len(shown)]
