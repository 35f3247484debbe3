"""Shell completion gives the right names, and never hangs or prints anything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.access.tokens import create_token, revoke_token, rotate_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.cli import completion
from prebuild_tasks.cli.main import main
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.support.builders import PRESET, declare, fill, workspaces
from tests.support.hosts import place_on


@pytest.fixture
def complete(
    cli: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], list[str]]:
    """Complete as bash does: given the line so far, of which the last word is to be completed."""

    def ask(line: str) -> list[str]:
        with monkeypatch.context() as patch:
            patch.setattr(completion, "TIMEOUT", 30.0)  # this tests the names, not the time limit
            patch.setenv("_PREBUILD_COMPLETE", "complete_bash")
            patch.setenv("COMP_WORDS", line)
            patch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
            main([])
        said = capsys.readouterr()
        assert said.err == ""
        return said.out.split()

    return ask


def test_names_are_completed(complete: Callable[[str], list[str]], database: Database, settings: Settings) -> None:
    assert complete("prebuild claim ") == []
    declare(database, settings, 2)
    fill(database, settings)
    mine = claim(database, ClaimRequest("ada", [PRESET])).answer.workspace
    other = next(row.name for row in workspaces(database) if row.owner == "prebuilds")
    for line in ("claim d", "explain ", "pause dev/", "report --preset ", "builds --preset dev", "history --preset "):
        assert complete(f"prebuild {line}") == [PRESET], line
    assert complete("prebuild claim x") == []
    assert complete("prebuild release ") == [mine]
    assert complete(f"prebuild extend {mine[:5]}") == [mine]
    assert complete("prebuild delete ") == complete("prebuild history ") == [mine, other]
    assert complete("prebuild promote ") == ["dev"]
    assert complete("prebuild forget ") == []
    place_on(database, "gone")
    assert complete("prebuild forget g") == ["gone"]
    assert complete("prebuild builds --status c") == ["canceling", "canceled"]
    assert complete("prebuild workspaces --state s") == ["starting", "stopping", "stopped"]
    assert complete("prebuild expl") == ["explain"]


def test_tokens_and_the_login_are_completed(
    complete: Callable[[str], list[str]], database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("portal", "grafana", "old"):
        create_token(database, NewTokenRequest(name=name, scope=Scope.READ), actor="test")
    rotate_token(database, "portal", 3600, actor="test")
    revoke_token(database, "old", actor="test")
    assert complete("prebuild token r") == ["rotate", "revoke"]
    assert complete("prebuild token rotate ") == complete("prebuild token revoke ") == ["grafana", "portal"]
    assert complete("prebuild token revoke p") == ["portal"]
    assert complete("prebuild token create x --scope c") == ["claim"]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert complete("prebuild login ") == ["https://"]
    monkeypatch.setenv("PREBUILD_API_URL", "https://prebuilds.example.com")
    monkeypatch.setenv("PREBUILD_API_TOKEN", "pbt_x")
    assert complete("prebuild login ht") == ["https://prebuilds.example.com"]


def test_a_database_that_is_away_completes_nothing_and_makes_nothing(
    complete: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for url in ("postgresql://nobody@127.0.0.1:1/none", "nonsense://", f"sqlite:///{tmp_path}/not-there.db"):
        monkeypatch.setenv("PREBUILD_DATABASE_URL", url)
        assert complete("prebuild claim ") == []
    assert not (tmp_path / "not-there.db").exists()


def test_the_shells_scripts_are_offered(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Typer detects the shell it was started from; a CI job may have none.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert "complete -o default -F _prebuild_completion prebuild" in cli("--show-completion", "bash")
