"""`prebuild events`: filters, pages, the log's beginning, and new events as they come."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import PrunedNumbers, note_pruned
from prebuild_tasks.pools import operations
from tests.support.builders import PRESET, declare, fill


def claimed(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    for owner in ("ada", "bob"):
        claim(database, ClaimRequest(owner, [PRESET], name=f"of-{owner}"))


def test_what_is_asked_for(cli: Any, database: Database, settings: Settings) -> None:
    assert cli("events") == "nothing happened yet\n"
    claimed(database, settings)
    kinds = [row["kind"] for row in json.loads(cli("events", "--json"))]
    assert kinds == ["pool_short", "pool_full", "claim", "claim"]
    [event] = json.loads(cli("events", "--kind", "claim", "--owner", "bob", "--pool", PRESET, "--json"))
    assert (event["pool"], event["owner"], event["workspace"]) == (PRESET, "bob", "of-bob")
    assert "of-bob" in cli("events", "--kind", "claim", "--kind", "miss")
    assert cli("events", "--kind", "miss") == "nothing happened yet\n"
    assert "use one of claim, miss," in cli("events", "--kind", "claims", expect=2)
    cli("events", "--pool", "dev/none", expect=3)


def test_pages_go_on_after_a_number(cli: Any, database: Database, settings: Settings) -> None:
    claimed(database, settings)
    everything = json.loads(cli("events", "--json"))
    first = json.loads(cli("events", "--limit", "3", "--json"))
    assert f"more with --after {first[-1]['id']}" in cli("events", "--limit", "3")
    assert first + json.loads(cli("events", "--after", str(first[-1]["id"]), "--json")) == everything


def test_what_is_no_longer_kept_is_told(cli: Any, database: Database, settings: Settings) -> None:
    claimed(database, settings)
    ids = [row["id"] for row in json.loads(cli("events", "--json"))]
    with database.write() as connection:
        note_pruned(connection, PrunedNumbers.up_to(ids[1]), database.now(connection))
    error = json.loads(cli("events", "--after", str(ids[0]), "--json", expect=5))
    assert error["error"] == "events_gone"
    assert [row["id"] for row in json.loads(cli("events", "--after", str(ids[1]), "--json"))] == ids[2:]
    assert [row["id"] for row in json.loads(cli("events", "--json"))] == ids[2:]


def test_a_number_that_no_event_has_is_told(cli: Any, database: Database, settings: Settings) -> None:
    claimed(database, settings)
    last = json.loads(cli("events", "--json"))[-1]["id"]
    shown = cli("events", "--after", str(last + 1), expect=5)
    assert f"there is no event {last + 1}" in shown
    assert f"go on after {last}" in shown
    assert cli("events", "--after", str(last)) == "nothing happened yet\n"


@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "text"])
def test_new_events_are_followed(database: Database, settings: Settings, options: list[str]) -> None:
    declare(database, settings, 0)
    operations.pause(database, PRESET, actor="ada")
    command = [sys.executable, "-m", "prebuild_tasks.cli.main", "events", "--follow", "--after", "0", *options]
    environ = {**os.environ, "PREBUILD_DATABASE_URL": database.url, "PREBUILD_DATA_DIR": str(settings.data_dir)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert "paused" in process.stdout.readline()
        operations.resume(database, PRESET, actor="bob")
        line = process.stdout.readline()
        assert "resumed" in line
        if options:
            assert json.loads(line)["actor"] == "bob"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
