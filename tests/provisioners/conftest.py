"""The container engine, one per test session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.provisioners.engine import INSTALLATIONS, Engine, container_engine


@pytest.fixture(scope="session")
def session_engine() -> Iterator[Engine]:
    with container_engine() as engine:
        yield engine


@pytest.fixture
def engine(session_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Make the provisioner use the engine, and remove everything that the test made in it."""
    monkeypatch.setenv("DOCKER_HOST", session_engine.host)
    yield session_engine
    for installation in INSTALLATIONS:
        session_engine.sweep(f"prebuild_tasks.installation={installation}")
