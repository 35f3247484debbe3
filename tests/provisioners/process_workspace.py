"""A command that serves, and the run of a start script, for the process provisioner."""

from __future__ import annotations

from dataclasses import replace

from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from tests.provisioners.context import Context

SERVE = 'exec "$PYTHON" -m http.server --bind "$PREBUILD_WORKSPACE_BIND" "$PORT"'


def run(provisioner: ProcessProvisioner, spec: WorkspaceSpec, start: object, **parameters: str) -> str:
    context = Context()
    provisioner.start(replace(spec, config={"start": start}, parameters=parameters), context)
    return context.text
