"""The application over a fresh database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prebuild_tasks.cli.main import main
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.support.api import NO_REDIS, Api, serving

CliJson = Callable[..., Any]


@pytest.fixture
def api(database: Database, settings: Settings) -> Iterator[Api]:
    with serving(database, settings) as api:
        yield api


@pytest.fixture
def cli_json(database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CliJson:
    """Run a command that reads, and return its JSON."""
    monkeypatch.setenv("PREBUILD_DATABASE_URL", database.url)
    monkeypatch.setenv("PREBUILD_REDIS_URL", NO_REDIS)

    def run(*arguments: str) -> Any:
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run
