"""The process provisioner, and a workspace for it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from tests.provisioners.context import Context

SERVE = 'exec "$PYTHON" -m http.server --bind "$PREBUILD_WORKSPACE_BIND" "$PORT"'


@pytest.fixture
def provisioner(settings: Settings) -> Iterator[ProcessProvisioner]:
    adapter = ProcessProvisioner(settings)
    yield adapter
    adapter.rest()


@pytest.fixture
def spec() -> WorkspaceSpec:
    return WorkspaceSpec(
        installation="i", workspace_id=str(uuid.uuid4()), attempt=1, name="n", owner="prebuilds", template="t",
        version="v", preset="p", config={"start": "true"}, parameters={"PYTHON": sys.executable},
    )  # fmt: skip


def run(provisioner: ProcessProvisioner, spec: WorkspaceSpec, start: object, **parameters: str) -> str:
    context = Context()
    provisioner.start(replace(spec, config={"start": start}, parameters=parameters), context)
    return context.text
