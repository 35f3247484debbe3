"""With an empty PREBUILD_DATABASE_URL beside a set DATABASE_URL, the service used its own SQLite file, while
`config show` named DATABASE_URL as the source; likewise for Redis. Compose and CI pass unset variables as empty."""

from __future__ import annotations

import json
import os

import pytest

from prebuild_tasks.cli.main import main
from prebuild_tasks.config import DEFAULT_PASS_ENV, load_settings

DATABASE, REDIS = "postgresql://ada@db/pools", "redis://broker:6379/1"


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PREBUILD_") or name.endswith("_URL")]:
        monkeypatch.delenv(name)


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    assert main(["config", "show", "--json"]) == 0
    return {row["variable"]: (row["value"], row["source"]) for row in json.loads(capsys.readouterr().out)}


def test_the_alias_is_taken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("PREBUILD_DATABASE_URL", "PREBUILD_REDIS_URL", "REDIS_URL"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    monkeypatch.setenv("CELERY_BROKER_URL", REDIS)
    settings = load_settings()
    assert (settings.database_url, settings.redis_url) == (DATABASE, REDIS)
    rows = shown(capsys)
    assert rows["PREBUILD_DATABASE_URL"] == (DATABASE, "DATABASE_URL")
    assert rows["PREBUILD_REDIS_URL"] == (REDIS, "CELERY_BROKER_URL")


@pytest.mark.parametrize("given", [False, True])
def test_an_empty_one_says_nothing_but_where_none_is_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: bool
) -> None:
    empty = {f"PREBUILD_{name}": "" for name in ("NAMESPACE", "BUILD_TIMEOUT", "LOG_FORMAT", "DATA_DIR", "HOST")}
    for name in empty:
        monkeypatch.setenv(name, "")
    usual = load_settings(empty if given else None)
    assert (usual.namespace, usual.build_timeout, usual.log_format) == ("prebuild", 3600, "auto")
    assert usual.data_dir.name == ".prebuild"
    assert usual.host
    assert usual.provisioner_pass_env == tuple(DEFAULT_PASS_ENV.split(","))
    assert shown(capsys)["PREBUILD_NAMESPACE"] == ("prebuild", "default")
    monkeypatch.setenv("PREBUILD_PROVISIONER_PASS_ENV", "")
    none = load_settings({"PREBUILD_PROVISIONER_PASS_ENV": ""} if given else None)
    assert none.provisioner_pass_env == ()
    assert shown(capsys)["PREBUILD_PROVISIONER_PASS_ENV"] == ("", "PREBUILD_PROVISIONER_PASS_ENV")
