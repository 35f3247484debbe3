"""The container engine, one per test session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.provisioners.engine import Engine, container_engine

INSTALLATIONS = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")


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
