"""`prebuild` in this process, on a real database and, if a test asks for one, a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.cli.main import main
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.fleet.presence import Presence, Role

CONTROL = tuple(f"prebuild.{name}" for name in ("events", "reconcile", "claims", "default"))
BUILDS = ("prebuild.builds", "prebuild.builds.here")


@dataclass(frozen=True)
class Here:
    """An installation, and the command line on it."""

    database: Database
    settings: Settings
    run: Callable[..., str]
    """Run a command with these arguments, assert its exit code `expect`, and return both outputs."""
    presences: list[tuple[Role, Presence]] = field(default_factory=list)

    def alive(self, *roles: Role, host: str = "here", queues: Sequence[str] | None = None) -> None:
        """Report a process of each role, all three by default, as alive."""
        usual: dict[Role, Sequence[str]] = {"worker": CONTROL, "builds": BUILDS, "beat": ()}
        settings = self.settings.model_copy(update={"host": host})
        for role in roles or tuple(usual):
            consumed = usual[role] if queues is None else queues
            presence = Presence(self.database, settings, role, partial(tuple, consumed))
            presence.announce()
            self.presences.append((role, presence))

    def alive_still(self, *, but: Role | None = None) -> None:
        """Report all processes again, except one role's."""
        for role, presence in self.presences:
            if role != but:
                presence.announce()


@pytest.fixture
def cli(
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Any:
    monkeypatch.setenv("PREBUILD_DATABASE_URL", database.url)
    monkeypatch.setenv("PREBUILD_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PREBUILD_REDIS_URL", "redis://127.0.0.1:1/0")

    def run(*arguments: str, expect: int = 0) -> str:
        code = main(arguments)
        captured = capsys.readouterr()
        assert code == expect, captured.out + captured.err
        return captured.out if expect == 0 else captured.out + captured.err

    return run
