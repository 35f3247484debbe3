"""`prebuild workspaces --state ready` said "no workspaces" while two prebuilds were ready: it searched only the first
1,000 workspaces, and there were as many claimed ones, which come first. The whole list was cut silently, in
`Client.workspaces` too, and a mistyped state or preset was answered with "no workspaces"."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, update

from prebuild_tasks.client import Client
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.status.listings import workspaces as listed
from prebuild_tasks.model.vocabulary import BuildStatus, Transition, WorkspaceState
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.rules import MARK_REASON
from tests.support.builders import declare, fill, workspaces
from tests.support.command_line import cli

__all__ = ["cli"]
CLAIMED = 1000


@pytest.fixture
def many(database: Database, settings: Settings) -> None:
    """Make two ready prebuilds, and as many claimed workspaces as the list shows by default."""
    declare(database, settings, 2)
    fill(database, settings)
    ready = dict(workspaces(database)[0]._mapping)
    with database.write() as connection:
        now = database.now(connection)
        claimed = {"slot": None, "claimed_at": now, "reason": MARK_REASON}
        rows = [ready | claimed | {"id": str(uuid4()), "name": f"w{n}", "owner": f"o{n}"} for n in range(CLAIMED)]
        connection.execute(insert(m.Workspace), rows)


def test_they_are_found_and_a_cut_list_says_so(cli: Any, many: None, database: Database) -> None:
    assert [row["owner"] for row in json.loads(cli("workspaces", "--state", "ready", "--json"))] == ["prebuilds"] * 2
    assert cli("workspaces", "--preset", "dev/small").endswith("(the first 1000; more with --limit)\n")
    assert "more with" not in cli("workspaces", "--limit", "1003")
    assert len(json.loads(cli("workspaces", "--preset", "dev/small", "--limit", "1001", "--json"))) == 1001
    client = Client(database.url)
    assert len(client.workspaces()) == CLAIMED + 2
    client.close()
    assert "there is no preset dev/smal" in cli("workspaces", "--preset", "dev/smal", expect=3)
    refused = cli("workspaces", "--state", "redy", expect=2)
    assert "--state 'redy' is unknown" in refused
    assert "use one of starting, running, ready" in refused


GIVEN = {"owner": "ada", "slot": None, "claimed_at": datetime(2026, 7, 1, tzinfo=UTC)}
"""Values of a workspace that was handed over."""


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({"status": BuildStatus.PENDING, "ready_at": None}, "starting"),
        ({"status": BuildStatus.RUNNING, "ready_at": None}, "starting"),
        ({"ready_at": None}, "running"),
        ({"owner": "prebuilds"}, "ready"),
        (GIVEN, "usable"),
        ({**GIVEN, "status": BuildStatus.PENDING}, "personalising"),
        ({**GIVEN, "status": BuildStatus.FAILED, "reason": MARK_REASON}, "usable"),
        ({"owner": "ada", "slot": None, "status": BuildStatus.RUNNING, "ready_at": None}, "starting"),
        ({"owner": "ada", "slot": None}, "ready"),  # it waits for her
        ({"transition": Transition.STOP, "status": BuildStatus.RUNNING}, "stopping"),
        ({"transition": Transition.STOP}, "stopped"),
        ({"status": BuildStatus.CANCELING}, "canceling"),
        ({"status": BuildStatus.CANCELED}, "canceled"),
        ({"status": BuildStatus.FAILED}, "failed"),
        ({"transition": Transition.DELETE, "status": BuildStatus.PENDING}, "deleting"),
        ({"transition": Transition.DELETE, "status": BuildStatus.FAILED}, "delete_failed"),
    ],
)
def test_each_state_is_one_word_and_found_by_it(
    database: Database, settings: Settings, values: dict[str, Any], state: str
) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    with database.write() as connection:
        connection.execute(update(m.Workspace).values(values))
    [row] = listed(database)
    assert row.state == state
    assert [word.value for word in WorkspaceState if listed(database, state=word)] == [state]
