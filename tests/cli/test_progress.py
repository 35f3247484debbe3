"""Progress of long operations."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.cli.progress import Working
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.support.builders import declare
from tests.support.wait import wait_until


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_line_comes_only_when_it_takes_long(capsys: pytest.CaptureFixture[str]) -> None:
    with Working("quick"):
        pass
    with Working("slow", delay=0.01) as working:
        said = wait_until(lambda: capsys.readouterr().err, what="the line")
        assert said == "slow\n"
        working.say("something else")
        assert wait_until(lambda: capsys.readouterr().err, what="the line") == "something else\n"


def test_where_waiting_is_certain_it_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Working("waiting", delay=0) as working:
        working.say("still")
    assert capsys.readouterr().err == "waiting\nstill\n"


def test_a_terminal_shows_a_bar_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with Working("reading") as working:
        working.say("storing [templates]")
    assert "storing [templates]" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K"), "the line is taken back"


def test_json_says_nothing_else(
    cli: Any, database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(database, settings, 0)
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    cli("db", "upgrade", "--json")
    cli("audit", "--database-only", "--json")
    cli("claim", "dev/small", "--owner", "bob", "--wait", "--timeout", "0s", "--json", expect=6)
    lines = [line for line in screen.getvalue().splitlines() if "wake_up_not_sent" not in line]
    assert [json.loads(line)["error"] for line in lines] == ["timeout"]
