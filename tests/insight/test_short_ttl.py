"""A TTL that is shorter than its builds made a pool build and delete for ever, and nothing said why."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.explain.rules import is_ttl_too_short
from prebuild_tasks.insight.short_ttl import short_ttls
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill, jump, staffed
from tests.support.command_line import cli

__all__ = ["cli"]


def build_slowly(database: Database, settings: Settings, ttl: str, seconds: float) -> None:
    """Declare a pool whose prebuilds took so long, and have expired since."""
    declare(database, settings, 1, extra=f"ttl: {ttl}")
    fill(database, settings)
    with database.write() as connection:
        now = database.now(connection)
        connection.execute(update(m.Build).values(started_at=now - timedelta(seconds=seconds), completed_at=now))
    jump(database, 4000)
    staffed(database, settings)


@pytest.mark.parametrize(("ttl", "seconds", "warned"), [("60s", 90, True), ("90s", 90, True), ("1h", 90, False)])
def test_it_is_warned_of_and_explained(
    cli: Any, database: Database, settings: Settings, ttl: str, seconds: float, warned: bool
) -> None:
    build_slowly(database, settings, ttl, seconds)
    found = short_ttls(database)
    assert len(found) == warned
    assert not warned or "is not longer than a start takes (90 s), so no prebuild is ever ready" in found[0]
    explained = json.loads(cli("explain", PRESET, "--json"))
    assert (explained["reason"] == "ttl_too_short") == warned
    assert ("so every prebuild expires before it is ready" in str(explained["chain"])) == warned


@pytest.mark.parametrize(("ttl", "warned"), [("5s", True), ("8h", False)])
def test_a_very_short_one_is_warned_of_before_the_first_build(
    database: Database, settings: Settings, ttl: str, warned: bool
) -> None:
    declare(database, settings, 1, extra=f"ttl: {ttl}")
    assert len(short_ttls(database)) == warned


def test_apply_says_it(cli: Any, settings: Settings, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pools.yaml"
    text = (
        "{schema: 1, templates: [{name: dev, config: {start: 'true'}, presets: [{name: small, desired: 1, ttl: 5s}]}]}"
    )
    file.write_text(text)
    assert json.loads(cli("apply", str(file), "--json"))["warnings"][0].startswith("dev/small: its ttl is 5 s")


@pytest.mark.parametrize(("ttl", "usual", "short"), [(None, 9, False), (5, None, False), (5, 5, True), (5, 4, False)])
def test_the_rule(ttl: float | None, usual: float | None, short: bool) -> None:
    given = [None if value is None else timedelta(seconds=value) for value in (ttl, usual)]
    assert is_ttl_too_short(*given) == short
