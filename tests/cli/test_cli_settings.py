"""Settings on the command line: a bad one is named in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.config import load_settings


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("RECONCILE_INTERVAL", "soon", "'soon' is not a duration"),
        ("RECONCILE_INTERVAL", "0", "greater than 0"),
        ("SWEEP_INTERVAL", "0s", "greater than 0"),
        ("BUILD_TIMEOUT", "0", "greater than 0"),
        ("HEARTBEAT_TIMEOUT", "0", "greater than 0"),
        ("RETENTION_EVENTS", "0", "greater than 0"),
        ("RETENTION_LOGS", "0d", "greater than 0"),
        ("RETENTION_EVENTS", "9999999d", "less than or equal to 3155760000"),
        ("BACKOFF_LOOKBACK", "9" * 400, "less than or equal to 3155760000"),
        ("LOG_LEVEL", "foo", "'foo' is not a log level; use one of CRITICAL, ERROR, WARNING, INFO, DEBUG"),
        ("NAMESPACE", "a b/*", "'a b/*' is not a valid namespace"),
    ],
)
def test_a_bad_setting_names_its_variable(
    cli: Any, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"PREBUILD_{variable}", value)
    said = cli("status", expect=2)
    assert f"PREBUILD_{variable}: " in said
    assert words in said
    assert "next: look up the settings with: prebuild config show" in said


def test_a_credential_that_is_not_text_is_reported_in_a_sentence(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    monkeypatch.delenv("PREBUILD_DATABASE_URL")
    monkeypatch.setenv("PREBUILD_DATABASE_URL_FILE", str(tmp_path / "secret"))
    said = cli("status", expect=2)
    assert f"PREBUILD_DATABASE_URL_FILE={tmp_path / 'secret'} is not UTF-8 text" in said


def test_settings_that_mean_something_are_taken() -> None:
    given = {"EXPORTER_CACHE": "0", "BACKOFF_INTERVAL": "0", "RECONCILE_INTERVAL": "0.5s", "LOG_LEVEL": "debug"}
    settings = load_settings({f"PREBUILD_{name}": value for name, value in given.items()})
    assert (settings.exporter_cache, settings.backoff_interval, settings.reconcile_interval) == (0, 0, 0.5)
    assert settings.log_level == "DEBUG"
