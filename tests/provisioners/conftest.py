"""The container engine, one per test session; the process provisioner, and a workspace for it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
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


@pytest.fixture
def provisioner(settings: Settings) -> Iterator[ProcessProvisioner]:
    """Make a process provisioner. Modules about another provisioner have a fixture of this name of their own."""
    adapter = ProcessProvisioner(settings)
    yield adapter
    adapter.rest()


@pytest.fixture
def spec() -> WorkspaceSpec:
    return WorkspaceSpec(
        installation="i", workspace_id=str(uuid.uuid4()), attempt=1, name="n", owner="prebuilds", template="t",
        version="v", preset="p", config={"start": "true"}, parameters={"PYTHON": sys.executable},
    )  # fmt: skip
