"""Fixtures that run `prebuild` in this process."""

from __future__ import annotations

from typing import Any

import pytest

from prebuild_tasks.cli.main import main
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.db.engine import Database
from tests.support.command_line import Here, cli

__all__ = ["cli"]


@pytest.fixture
def here(
    database: Database,
    settings: Settings,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    for name, value in (("DATABASE_URL", database.url), ("REDIS_URL", redis_url), ("HOST", "here")):
        monkeypatch.setenv(f"PREBUILD_{name}", value)
    monkeypatch.setenv("PREBUILD_DATA_DIR", str(settings.data_dir))

    def run(*arguments: str, expect: int = 0) -> str:
        capsys.readouterr()
        code = main(arguments)
        said = "".join(capsys.readouterr())
        assert code == expect, said
        assert "Traceback" not in said
        return said

    return Here(database, load_settings(), run)


@pytest.fixture
def redis_config(redis_server: str) -> Any:
    """Change Redis's configuration until the end of the test."""
    import redis

    client = redis.Redis.from_url(redis_server)
    before: dict[str, str] = {}

    def change(**values: str) -> None:
        for name, value in values.items():
            key = name.replace("_", "-")
            before.setdefault(key, client.config_get(key)[key])
            client.config_set(key, value)

    yield change
    for key, value in before.items():
        client.config_set(key, value)
    client.close()
