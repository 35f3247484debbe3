"""`builds` and `history` at the command line."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from sqlalchemy import insert

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, fill, finish_builds, jump, turn


@pytest.fixture
def failed_and_fixed(database: Database, settings: Settings) -> None:
    """Make two failed builds of a first version, two hours ago, and two successful ones of a second."""
    declare(database, settings, 2)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="no disk")
    jump(database, 7200)
    declare(database, settings, 2, start="echo fixed")
    fill(database, settings)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ([], 4), (["--status", "failed"], 2), (["--status", "succeeded"], 2), (["--since", "1h"], 2),
        (["--since", "3h"], 4),
        (["--preset", "dev/small"], 4), (["--limit", "1"], 1), (["--status", "failed", "--since", "1h"], 0),
        (["--since", "2020-01-01", "--preset", "dev/small", "--status", "failed"], 2),
    ],
)  # fmt: skip
def test_builds_are_found(cli: Any, failed_and_fixed: None, arguments: list[str], count: int) -> None:
    rows = json.loads(cli("builds", *arguments, "--json"))
    assert len(rows) == count
    assert rows == sorted(rows, key=lambda row: row["created_at"], reverse=True)
    assert all(row["error"] == ("no disk" if row["status"] == "failed" else "") for row in rows)


def test_the_tables_say_when_why_and_that_there_is_more(cli: Any, failed_and_fixed: None) -> None:
    text = cli("builds", "--status", "failed")
    assert text.startswith("WHEN (UTC)")
    assert text.count("no disk") == 2
    assert "(the newest 1; more with --limit)" in cli("builds", "--limit", "1")
    told = cli("history", "--preset", "dev/small")
    assert "+ preset dev/small: desired 2" in told
    assert "(the newest 2; more with --limit)" in cli("history", "--limit", "2")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["builds", "--preset", "dev/none"], 3, "there is no preset dev/none"),
        (["builds", "--since", "soon"], 2, "cannot read --since 'soon' as a time"),
        (["history", "--preset", "dev/none"], 3, "there is no preset dev/none"),
        (["logs", "dev/small"], 3, "dev/small is a pool; only its builds have output"),
        (["logs", "dev/small"], 3, ": prebuild explain dev/small, or: prebuild builds --preset dev/small"),
        (["logs", "ada/small"], 3, "there is no build or workspace ada/small"),
        (["history", "nothing"], 3, "there is no history of nothing"),
        (["history", "a", "--preset", "dev/small"], 2, "not both"),
    ],
)
def test_bad_questions_are_one_sentence(
    cli: Any, failed_and_fixed: None, arguments: list[str], code: int, words: str
) -> None:
    assert words in cli(*arguments, expect=code)


def test_a_log_that_is_followed_is_json_line_by_line(cli: Any, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    [build] = turn(database, settings).follow_up.builds

    def say(text: str, seq: int) -> None:
        with database.write() as connection:
            row = {"build_id": build.id, "attempt": 1, "seq": seq, "text": text, "at": database.now(connection)}
            connection.execute(insert(m.BuildLog).values(row))

    def go_on() -> None:
        say("two\n", 2)
        finish_builds(database)

    say("one\n", 1)
    other = threading.Thread(target=go_on)
    other.start()
    pages = [json.loads(line) for line in cli("logs", build.id, "--follow", "--json").splitlines()]
    other.join(60)
    assert "".join(page["text"] for page in pages) == "one\ntwo\n"
    assert [page["ended"] for page in pages] == [False] * (len(pages) - 1) + [True]
    whole = {"build": build.id, "ended": True, "text": "one\ntwo\n", "waits": ""}
    assert json.loads(cli("logs", build.id, "--json")) == whole
    assert cli("logs", build.id, "--follow") == "one\ntwo\n"
