"""A claim while no builds worker ran answered a dead URL without a word, and `explain` found nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimAnswer, ClaimRequest
from prebuild_tasks.cli.main import main
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.fleet.presence import Presence
from tests.support.builders import PRESET, declare, fill
from tests.support.command_line import cli
from tests.support.hosts import place_on, report_presence
from tests.support.roundtrips import asked_of_postgresql

__all__ = ["cli"]


def take(database: Database, **request: Any) -> ClaimAnswer:
    return claim(database, ClaimRequest("ada", [PRESET], **request)).answer  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("host", "alive", "warned"),
    [("", [], True), ("", ["other"], False), ("box", ["other"], True), ("box", ["other", "box"], False)],
)
def test_the_answer_warns_unless_a_builds_worker_can_reach_it(
    database: Database, settings: Settings, host: str, alive: list[str], warned: bool
) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    place_on(database, host)
    report_presence(database, settings, *alive)
    first = take(database, request_id="r")
    assert bool(first.warning) == warned
    assert ("warning" in first.report()) == warned
    assert take(database, request_id="r").warning == first.warning, "repeated"
    assert bool(take(database, request_id="s", repeated=True).warning) == warned, "in steps"
    if warned:
        assert f"no builds worker is running{f' on {host}' if host else ''}, so" in first.warning


def test_a_worker_that_ended_or_is_silent_reaches_nothing(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    [presence] = report_presence(database, settings, "box")
    assert not take(database).warning
    presence.announce_end()
    assert take(database).warning
    presence = report_presence(database, settings, "box")[0]
    assert claim(database, ClaimRequest("ada", [PRESET]), alive_within=-1).answer.warning  # type: ignore[union-attr]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_it_costs_no_round_trip(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    with asked_of_postgresql() as asked:
        assert take(database).warning
    assert len(asked) == 1


def test_the_commands_say_it(
    cli: Any, database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    place_on(database, "box")
    explained = cli("explain", PRESET)
    assert "what is claimed may not answer" in explained
    assert main(["claim", PRESET, "--owner", "ada"]) == 0
    assert capsys.readouterr().err.startswith("warning: no builds worker is running on box, so the workspace may not")
    answer = json.loads(cli("claim", PRESET, "--owner", "ada", "--json"))
    assert "no builds worker is running on box" in answer["warning"]
    queues = ("prebuild.builds", "prebuild.builds.other")
    Presence(database, settings.model_copy(update={"host": "other"}), "builds", lambda: queues).announce()
    explained = cli("explain", PRESET)
    assert "prebuilds on box can be claimed but may not answer: no builds worker is running there" in explained
    assert "start a builds worker on box" in explained
