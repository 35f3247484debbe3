"""Times, durations, plurals, usage and warnings as people read them on the command line."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from prebuild_tasks.claims.rules import refuse_at_limit
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.logs import configure_command_logging, get_logger
from prebuild_tasks.model.durations import duration_text, parse_duration
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.workspaces.extension import extend
from tests.support.builders import PRESET, declare, fill, finish_builds

FRACTION = re.compile(r"\d\d:\d\d:\d\d\.\d")


@pytest.fixture
def used(database: Database, settings: Settings) -> Database:
    declare(database, settings, 1, extra="claimed_ttl: 10h")
    fill(database, settings)
    answer = claim(database, ClaimRequest("ada", [PRESET])).answer
    finish_builds(database)
    extend(database, answer.workspace, 3600, actor="ada")
    pause(database, PRESET, actor="ada", seconds=3600)
    return database


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("command", ["workspaces", "history", "builds", "status", "sweep"])
def test_times_are_shown_to_the_second(cli: Any, command: str) -> None:
    assert not FRACTION.search(cli(command))


@pytest.mark.usefixtures("used")
def test_history_and_builds_are_newest_first(cli: Any) -> None:
    for command in ("history", "builds"):
        times = [line[:19] for line in cli(command).splitlines()[1:]]
        assert times == sorted(times, reverse=True)
    events = [row["event"] for row in json.loads(cli("history", "--json"))]
    assert events[0] == "applied", "scripts get them as before"
    assert cli("history").splitlines()[1].split()[3] == "paused"


def test_settings_fit_a_screen(cli: Any) -> None:
    said = cli("config", "show")
    assert max(map(len, said.splitlines())) <= 100
    assert re.search(r"PREBUILD_RETENTION_EVENTS +180d +default", said)
    assert re.search(r"PREBUILD_RECONCILE_INTERVAL +15s +default", said)
    assert re.search(r"HTTP_PROXY, HTTPS_PROXY,", said)


@pytest.mark.parametrize("text", ["0s", "15s", "1.5s", "90s", "5m", "8h", "180d"])
def test_a_duration_is_written_as_it_can_be_read(text: str) -> None:
    assert duration_text(parse_duration(text)) == text


def test_a_time_after_wait_is_not_a_preset(cli: Any, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    said = cli("claim", PRESET, "--owner", "ada", "--wait", "10", expect=2)
    assert said == "prebuild: --wait takes no time, and 10 is not a preset\n  next: add --timeout 10\n"
    assert cli("claim", "--owner", "ada", "--wait", "10", PRESET, expect=2) == said
    said = cli("claim", "--template", "dev", "--owner", "ada", "--wait", "5m", expect=2)
    assert "--timeout 5m" in said


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("explain", "[OPTIONS] PRESET"),
        ("promote", "[OPTIONS] TEMPLATE VERSION"),
        ("claim", "[OPTIONS] [PRESETS]..."),
        ("status", "[OPTIONS] [POOL]..."),
        ("apply", "[OPTIONS] FILE [OVERLAYS]..."),
    ],
)
def test_usage_names_arguments_as_other_commands_do(cli: Any, command: str, usage: str) -> None:
    assert cli(command, "--help").splitlines()[0] == f"Usage: prebuild {command} {usage}"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_warning_is_a_sentence_among_sentences(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    configure_command_logging(as_json=as_json)
    get_logger("x").warning("wake_up_not_sent", presets=2, error="not within 0.2 s")
    said = capsys.readouterr().err
    if as_json:
        assert json.loads(said)["event"] == "wake_up_not_sent"
    else:
        assert said == "warning: wake up not sent (presets: 2, error: not within 0.2 s)\n"


def test_one_workspace_is_not_workspaces() -> None:
    with pytest.raises(RefusedError, match="ada has 1 workspace, the limit is 1"):
        refuse_at_limit("ada", 1, 1)
