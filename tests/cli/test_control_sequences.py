"""Control sequences in a recipe's output, in errors and names used to reach the terminal of whoever asked."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import insert, update

from prebuild_tasks.cli.main import main
from prebuild_tasks.cli.progress import Working
from prebuild_tasks.cli.up.watch import PoolView
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight import pools
from prebuild_tasks.logs import configure_command_logging, get_logger
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, finish_builds, turn

BAD = "\x1b[31mERROR\x1b[0m \x1b]0;pwned\x07 \x1b[2J\x1b[1;1H \x9b2J \u202e could not\rok\b\b\x7f"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def failed(database: Database, settings: Settings) -> str:
    """Make a build that failed with a bad error and a bad log, and return its id."""
    declare(database, settings, 1)
    [build] = turn(database, settings).follow_up.builds
    finish_builds(database, status=BuildStatus.FAILED, error=BAD)
    with database.write() as connection:
        now = database.now(connection)
        connection.execute(insert(m.BuildLog).values(build_id=build.id, attempt=1, seq=1, text=BAD, at=now))
        connection.execute(update(m.Preset).values(status_reason=BAD))
        connection.execute(update(m.Workspace).values(reason=BAD, directory=BAD))
        row = {"at": now, "actor": BAD, "event": "paused", "reason": BAD, "preset_id": None, "workspace_id": None}
        connection.execute(insert(m.History).values(row))
    return build.id


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    "command",
    [
        ["status"], ["explain", "dev/small"], ["builds"], ["workspaces"], ["history"], ["report"],
        ["pause", "--actor", BAD, "--reason", BAD], ["claim", "dev/small", "--owner", BAD, "--name", "x"],
        ["claim", BAD, "--owner", "ada"], ["logs", BAD], ["explain", BAD], ["release", BAD], ["builds", BAD],
        ["builds", f"--{BAD}"], [BAD], ["apply", BAD], ["sweep"], ["doctor"], ["audit", "--database-only"],
        ["explain", BAD, "--json"], ["release", BAD, "--json"], ["claim", BAD, "--owner", "ada", "--json"],
    ],
    ids=lambda command: re.sub(r"\W+", "_", " ".join(command))[:30],
)  # fmt: skip
def test_no_command_lets_them_through(
    cli: Any, failed: str, command: list[str], terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "1000")
    main(command)
    said = out.getvalue() + err.getvalue()
    if terminal:  # what the command itself colors, and its spinner
        said = re.sub(r"\x1b\[(?:\d*(?:;\d+)*m|\?25[lh]|1A|2K)|\r", "", said.replace("\x1b[31mERROR", "\x9b"))
    assert said
    assert not CONTROL.search(said)


def test_a_log_keeps_colors_only(cli: Any, failed: str) -> None:
    shown = cli("logs", failed)
    assert shown.startswith("\x1b[31mERROR\x1b[0m \\x1b]0;pwned")
    assert not CONTROL.search(re.sub(r"\x1b\[\d+m", "", shown))
    assert json.loads(cli("logs", failed, "--json"))["text"] == BAD


@pytest.mark.parametrize("command", [["status"], ["builds"], ["history"], ["workspaces"], ["explain", "dev/small"]])
def test_json_has_the_text_and_no_control_character(cli: Any, failed: str, command: list[str]) -> None:
    shown = cli(*command, "--json")
    assert not CONTROL.search(shown)
    assert BAD in str(json.loads(shown)).encode().decode("unicode_escape") or r"\x1b[31mERROR" in str(json.loads(shown))


@pytest.mark.parametrize("terminal", [False, True])
def test_a_watched_status_and_the_progress_escape(
    database: Database, settings: Settings, failed: str, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    screen = io.StringIO()
    with PoolView(Console(file=screen, force_terminal=terminal, width=400), lines.append) as view:
        view.show(pools(database, settings))
        view.show_error(BAD)
    assert "pwned" in screen.getvalue() or not terminal
    assert "\x1b]0" not in screen.getvalue()
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with Working(BAD, delay=0) as working:
        working.say(BAD)
    assert not CONTROL.search(sys.stderr.getvalue())  # type: ignore[attr-defined]


def test_a_log_line_on_a_terminal_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    configure_command_logging()
    get_logger("x").warning("a build failed", error=BAD)
    try:
        raise ValueError(BAD)
    except ValueError:
        logging.getLogger("y").exception("it said %s", BAD)
    said = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert said.count("pwned") == 3
    assert not CONTROL.search(re.sub(r"\x1b\[\d*m", "", said.replace("\x1b[31mERROR", "\x9b")))
