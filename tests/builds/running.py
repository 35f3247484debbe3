"""A runner with short deadlines, and its pending builds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from prebuild_tasks.builds.results import BuildResult
from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", host="here", heartbeat_timeout=0.8, build_timeout=20)


@pytest.fixture
def runner(database: Database, settings: Settings) -> Iterator[BuildRunner]:
    runner = BuildRunner(database, settings, Provisioners(settings))
    yield runner
    runner.close()
    Provisioners(settings).get("process").rest()  # type: ignore[attr-defined]


def pending(database: Database) -> list[str]:
    with database.read() as connection:
        query = select(m.Build.id).where(m.Build.status == BuildStatus.PENDING)
        return list(connection.execute(query.order_by(m.Build.created_at, m.Build.id)).scalars())


def run_all(database: Database, runner: BuildRunner) -> list[BuildResult]:
    return [runner.run(build_id) for build_id in pending(database)]


def in_background(runner: BuildRunner, build_id: str) -> tuple[threading.Thread, list[BuildResult]]:
    results: list[BuildResult] = []
    thread = threading.Thread(target=lambda: results.append(runner.run(build_id)))
    thread.start()
    return thread, results
