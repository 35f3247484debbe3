"""A claim that waited under a pause was told that the pool is empty, and not that nobody would build for it."""

from __future__ import annotations

from typing import Any

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError, Remedy, RemedyKind
from prebuild_tasks.pools.operations import pause
from tests.support.builders import PRESET, declare
from tests.support.command_line import cli

__all__ = ["cli"]


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("paused", ["", PRESET])
def test_the_pause_is_named_with_who_and_why(database: Database, settings: Settings, paused: str, wait: bool) -> None:
    declare(database, settings, 1)
    pause(database, paused, actor="grace", reason="the disk is being replaced", seconds=None)
    with pytest.raises(ClaimMissError) as missed:
        claim(database, ClaimRequest("ada", [PRESET], wait=wait))
    assert f"{paused or 'everything'} is paused by grace: the disk is being replaced" in missed.value.message
    assert missed.value.remedy == Remedy(RemedyKind.RESUME, paused)
    assert missed.value.reason == "empty_pool"


def test_the_command_that_waits_says_it(cli: Any, database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    pause(database, "", actor="grace", reason="", seconds=3600)
    said = cli("claim", PRESET, "--owner", "ada", "--wait", "--timeout", "1s", expect=6)
    assert said.count("everything is paused by grace until ") >= 2
