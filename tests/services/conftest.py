"""What several service tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.provisioners import Provisioners


@pytest.fixture
def runner(database: Database, settings: Settings) -> Iterator[BuildRunner]:
    """Runs builds with the real provisioners."""
    runner = BuildRunner(database, settings, Provisioners(settings))
    yield runner
    runner.close()
