"""Rows of `Client.workspaces` can still be used as the dicts that they were in release 0.1, with a warning."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from prebuild_tasks.insight.status.views import WorkspaceView
from prebuild_tasks.json_views import rows_of
from prebuild_tasks.model.vocabulary import WorkspaceState

PAGE = Path(__file__).parents[3] / "docs" / "python-api.md"
AT = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture
def view() -> WorkspaceView:
    return WorkspaceView(
        workspace="w", id="1", owner="ada", preset="dev/small", state=WorkspaceState.USABLE, url="", directory="",
        resource_id="", host="", created_at=AT, claimed_at=AT, claimed_until=None, ends_soon=False, reason="",
    )  # fmt: skip


def test_a_workspace_still_answers_items_as_in_release_0_1(view: WorkspaceView) -> None:
    with pytest.warns(DeprecationWarning, match=r"use \.state instead"):
        assert view["state"] == "usable"
    with pytest.warns(DeprecationWarning, match="no longer a dict"):
        assert (view["created_at"], view["claimed_until"]) == (AT.isoformat(), None)
    with pytest.raises(KeyError):
        view["colour"]


ROW_0_1: dict[str, Callable[[WorkspaceView], object]] = {
    "get": lambda row: (row.get("state"), row.get("claimed_until", 1), row.get("colour"), row.get("colour", 7)),
    "in": lambda row: ("state" in row, "colour" in row),
    "iter": list,
    "len": len,
    "keys": lambda row: list(row.keys()),
    "values": lambda row: list(row.values()),
    "items": lambda row: list(row.items()),
    "dict": dict,
    "copy": lambda row: row.copy(),
    "or": lambda row: (row | {"state": "x", "colour": 7}, {"state": "x", "colour": 7} | row),
    "eq": lambda row: (row == dict(row), dict(row) == row, row == {}, row != dict(row)),
    "splat": lambda row: {**row},  # type: ignore[dict-item]
}
"""What programs written for release 0.1 do with a row, which was a dict."""


@pytest.mark.parametrize("use", ROW_0_1)
def test_a_workspace_can_be_used_as_the_dict_of_release_0_1(use: str, view: WorkspaceView) -> None:
    row = {
        "workspace": "w", "id": "1", "owner": "ada", "preset": "dev/small", "state": "usable", "url": "",
        "directory": "", "resource_id": "", "host": "", "created_at": AT.isoformat(), "claimed_at": AT.isoformat(),
        "claimed_until": None, "ends_soon": False, "reason": "", "retry_at": None,
    }  # fmt: skip
    with pytest.warns(DeprecationWarning, match="no longer a dict") as warned:
        assert ROW_0_1[use](view) == ROW_0_1[use](row)  # type: ignore[arg-type]
    assert {one.filename for one in warned} == {__file__}, "the caller is named"


def test_workspaces_are_compared_without_a_warning(view: WorkspaceView) -> None:
    other = replace(view, owner="bob")
    assert view == replace(view)
    assert view not in (other, None, 7)
    assert {view: 1, other: 2}[replace(view)] == 1


def test_a_workspace_cannot_be_changed(view: WorkspaceView) -> None:
    """The documentation lists what broke."""
    for name in ("pop", "popitem", "setdefault", "update", "clear"):
        assert not hasattr(view, name)
        assert f"`{name}`" in PAGE.read_text()
    with pytest.raises(TypeError):
        view["state"] = "x"  # type: ignore[index]


def test_a_workspace_reports_itself_as_json_without_a_warning(view: WorkspaceView) -> None:
    assert view
    assert [view.report()] == [view.to_json()] == rows_of([view])
    assert json.loads(json.dumps(view.report())) == view.report()
    with pytest.raises(TypeError):
        json.dumps(view)
