"""After `--prune`, an organization that its file no longer names has no limits, and is listed without any.

Previously its last limits stayed in force forever, invisibly.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from tests.support.pool_files import load_text

LIMITED = "organizations: [{name: default, max_workspaces: 5}, {name: team, max_per_owner: 2}]\n"
LIFTED = ["~ organization default: no longer declared, max_workspaces 5 -> none",
          "~ organization team: no longer declared, max_per_owner 2 -> none"]  # fmt: skip


def put(database: Database, settings: Settings, text: str = "", source: str = "one", **options: Any) -> list[str]:
    report = apply(database, settings, load_text(f"schema: 1\n{text}"), ApplyOptions("ada", source=source, **options))
    assert report.changed == any(change.action != "would_drain" for change in report.changes)
    return [str(change) for change in report.changes]


def limits(database: Database) -> dict[str, Any]:
    table = m.Organization
    with database.read() as connection:
        rows = connection.execute(select(table.name, table.max_workspaces, table.max_per_owner))
        return {row[0]: row[1:] for row in rows}


def test_its_limits_go_with_prune(database: Database, settings: Settings) -> None:
    put(database, settings, LIMITED)
    assert put(database, settings) == [
        "! organization default: no longer declared; if pruned, max_workspaces 5 -> none",
        "! organization team: no longer declared; if pruned, max_per_owner 2 -> none",
    ]
    assert limits(database) == {"default": (5, None), "team": (None, 2)}
    assert put(database, settings, source="two", prune=True) == [], "they are not its"
    assert put(database, settings, prune=True) == LIFTED
    assert limits(database) == {"default": (None, None), "team": (None, None)}
    assert put(database, settings, prune=True) == []


def test_limits_are_whose_file_declares_them(database: Database, settings: Settings) -> None:
    template = "templates: [{name: dev, organization: team, config: {start: 'true'}, presets: []}]\n"
    put(database, settings, template)
    assert len(put(database, settings, LIMITED, source="two")) == 2
    assert put(database, settings, template, prune=True) == [], "it uses the organization, and limits nothing"
    assert put(database, settings, source="two", prune=True) == LIFTED
