"""`status --watch`: a live table on a terminal, else a line per change; Ctrl-C ends it successfully."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from prebuild_tasks.cli.up.service import still_starting
from prebuild_tasks.cli.up.watch import PoolView
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.status.views import PoolStatus
from prebuild_tasks.model.names import PresetRef
from tests.support.builders import declare, fill
from tests.support.wait import wait_until

ROW = PoolStatus(PresetRef("dev", "small"), 2, 0, 0, 0, 0, 0, "no_worker", "create 2, but no worker is running", "")
FULL = replace(ROW, preset=PresetRef("dev", "full"), eligible=2, reason="none", next_action="")


def lines(*looks: Sequence[PoolStatus]) -> list[str]:
    said: list[str] = []
    with PoolView(Console(file=io.StringIO()), said.append) as view:
        for rows in looks:
            view.show(rows)
    return said


def test_without_a_terminal_only_changes_are_said() -> None:
    assert lines([], [ROW], [ROW], [ROW, FULL], [FULL]) == [
        "nothing is declared yet; run: prebuild apply FILE",
        "dev/small 0/2, create 2, but no worker is running",
        "dev/full 2/2",
        "gone: dev/small",
    ]


def test_trouble_is_said_once_and_what_was_shown_stays() -> None:
    said: list[str] = []
    with PoolView(Console(file=io.StringIO()), said.append) as view:
        view.show([ROW])
        view.show_error("the database is away")
        view.show_error("the database is away")
        view.show([ROW])
        view.show_error("the database is away")
    assert said[1:] == ["the database is away", "the database is away"]


def shown(rows: Sequence[PoolStatus], *, height: int = 40, trouble: str = "") -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=150, height=height, color_system="standard")
    with PoolView(console, lambda _: None) as view:
        view.show(rows)
        if trouble:
            view.show_error(trouble)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_on_a_terminal_the_state_is_a_colour_and_the_reason_stands_in_words() -> None:
    paused = replace(ROW, preset=PresetRef("dev", "held"), reason="paused", next_action="paused by [ada]")
    text = shown([ROW, FULL, paused], trouble="it is away")
    assert re.search(r"\x1b\[31mdev/small .*no worker", text)
    assert "\x1b[32mdev/full" in text
    assert re.search(r"\x1b\[36mdev/held .*paused by \[ada\]", text)
    assert "it is away" in text


def test_what_is_short_comes_first_where_not_all_fit() -> None:
    many = [replace(FULL, preset=PresetRef("dev", f"p{number}")) for number in range(100)]
    text = shown([*many, ROW], height=10)
    assert "dev/small" in text
    assert "101 pools" in text
    assert "100 full, 95 more" in text


def test_a_superseded_version_is_shown_only_while_its_deletions_fail() -> None:
    old = replace(FULL, preset=PresetRef("dev", "full", "v1"), desired=0, eligible=0, reason="inactive")
    assert "dev/full@v1" not in shown([FULL, old])
    assert "dev/full@v1" in shown([FULL, replace(old, failed_deletions=1)])


@contextmanager
def watching(database: Database, data_dir: Path, *options: str, output: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "prebuild_tasks.cli.main", "status", "--watch", *options]
    environment = {**os.environ, "PREBUILD_DATABASE_URL": database.url, "PREBUILD_DATA_DIR": str(data_dir)}
    process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.PIPE)
    try:
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


@pytest.mark.parametrize("as_json", [False, True])
def test_it_goes_on_until_ctrl_c(database: Database, settings: Settings, tmp_path: Path, as_json: bool) -> None:
    declare(database, settings, 1)
    path = tmp_path / "output"
    options = ["--json"] if as_json else []

    def is_full() -> bool:
        # A reading between the turn's commit and the build's end adds a line with 0/1.
        last = path.read_text().splitlines(keepends=True)[-1]
        if not last.endswith("\n"):
            return False
        return bool(json.loads(last)[0]["eligible"] == 1) if as_json else last.endswith("dev/small 1/1\n")

    with path.open("wb") as output, watching(database, tmp_path, *options, output=output.fileno()):
        wait_until(lambda: b"no worker" in path.read_bytes(), timeout=60)
        fill(database, settings)
        wait_until(is_full, timeout=60, what="the full pool")
    last = path.read_text().splitlines()[-1]
    assert json.loads(last)[0]["eligible"] == 1 if as_json else last[9:] == "dev/small 1/1"


def test_ctrl_c_on_a_terminal(tmp_path: Path, settings: Settings, sqlite_template: Path) -> None:
    database = Database(f"sqlite:///{sqlite_template}")
    ours, theirs = pty.openpty()
    seen = bytearray()

    def look() -> bool:
        seen.extend(os.read(ours, 65536))
        return b"ELIGIBLE" in seen

    with watching(database, tmp_path, output=theirs):
        wait_until(look, timeout=60)
    os.close(theirs)
    os.close(ours)
    database.close()


def test_workers_that_are_starting_are_no_trouble_for_a_while() -> None:
    assert still_starting([ROW], 0.5)
    assert still_starting([replace(ROW, reason="no_builds_worker")], 0.5)
    assert not still_starting([replace(ROW, reason="starting")], 0.5)
    assert not still_starting([ROW], 30.0)
