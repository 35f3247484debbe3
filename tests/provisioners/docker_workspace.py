"""The docker provisioner, and a workspace for it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.docker import DockerProvisioner
from tests.provisioners.engine import INSTALLATIONS, LIMITS, PLAIN, Engine

INSTALLATION, OTHER = INSTALLATIONS
IDLE = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


@pytest.fixture
def provisioner(engine: Engine, settings: Settings) -> DockerProvisioner:
    return DockerProvisioner(settings)


@pytest.fixture
def spec() -> WorkspaceSpec:
    return WorkspaceSpec(
        installation=INSTALLATION, workspace_id=str(uuid.uuid4()), attempt=1, name="prebuild-a-b-1", owner="prebuilds",
        template="t", version="v", preset="p", config=recipe(), parameters={}, ready_timeout=20,
    )  # fmt: skip


def recipe(**more: Any) -> dict[str, Any]:
    return {"image": PLAIN, "pull": "never", "command": IDLE, "ready": "true", "ulimits": LIMITS, **more}


def inspect(engine: Engine, container_id: str) -> dict[str, Any]:
    with engine.api() as api:
        return dict(api.inspect_container(container_id))


def volumes(engine: Engine, workspace_id: str) -> list[str]:
    with engine.api() as api:
        return [volume["Name"] for volume in api.volumes()["Volumes"] or [] if workspace_id in volume["Name"]]


def in_background(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as error:  # noqa: BLE001 - the test looks at whatever it was
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome
