"""The pages and the API tell the same."""

from __future__ import annotations

import re
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
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?|\b\d+(?:\.\d+)? (?:ms|s|min|h|d)\b")
"""An instant, and how long ago or how far off it is: the page and the API are asked one after the other."""
BADGE = re.compile(r'<tr id="pool-([^"]+)".*?<span class="badge[^"]*">([^<]+)</span>', re.DOTALL)
HEAD = re.compile(r'id="pool-head".*?<span class="badge[^"]*">([^<]+)</span>', re.DOTALL)
"""The states of the pools in the table, and of the pool whose page it is."""
POOLS = [path for path in PATHS if path.startswith("/pools/") and "really" not in path]
LISTS = (
    ("/workspaces", "workspace", "id"),
    ("/builds", "build", "build"),
    (f"/builds?preset={BUSY}", "build", "build"),
)
"""Paths with what their rows are called on the page, and the field of their id in the API."""


@pytest.fixture
def lively(database: Database, settings: Settings, api: Api) -> Browser:
    make_lively(database, settings, hostile=False)
    return Browser(api).log_in()


def items(browser: Browser, path: str) -> list[dict[str, Any]]:
    return list(browser.api.get(path).json()["items"])


def test_the_pages_tell_what_the_api_tells(lively: Browser) -> None:
    """In one test, because an installation with a past takes a while to make."""
    compare_table(lively)
    compare_states(lively)
    for path in POOLS:
        compare_causes(lively, path)
    for path, what, key in LISTS:
        compare_list(lively, path, what, key)


def compare_table(lively: Browser) -> None:
    rows = {row["data-pool"]: row for _, row in HookedRows(lively.get("/pools").text).rows}
    assert {name: (row["data-desired"], row["data-eligible"], row["data-reason"]) for name, row in rows.items()} == {
        pool["preset"]: (str(pool["desired"]), str(pool["eligible"]), pool["reason"] or "none")
        for pool in items(lively, "/v1/pools")
        if "@" not in pool["preset"]  # a version that is being replaced is on the page of its pool
    }
    assert len({row["data-reason"] for row in rows.values()}) >= 4


def compare_states(lively: Browser) -> None:
    """The page of a pool called a paused pool full, and a short one by its reason."""
    states = dict(BADGE.findall(lively.get("/pools").text))
    assert len(set(states.values())) >= 3
    assert states == {name: HEAD.findall(lively.get(f"/pools/{name}").text)[0] for name in states}


def compare_causes(lively: Browser, path: str) -> None:
    page = re.sub(r"\s+", " ", unescape(TAG.sub(" ", lively.get(path).text)))
    explained = lively.api.get(f"/v1{path}/explain").json()["chain"]
    chain = [link for link in explained if link["about"] != "turn"]  # without Redis, it tells when Redis was asked
    assert len(chain) >= 2
    for link in chain:
        for words in TIME.split(link["words"]):
            assert words.strip(" (") in page, link


def compare_list(lively: Browser, path: str, what: str, key: str) -> None:
    shown = re.findall(rf'<tr id="{what}-([^"]+)"', lively.get(path).text)
    listed = [row[key] for row in items(lively, f"/v1{path}")]
    assert shown
    assert shown[: len(listed)] == listed[: len(shown)]
