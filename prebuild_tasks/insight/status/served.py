"""The output of what a workspace serves, read where the workspace is. Nothing is written."""

from __future__ import annotations

from dataclasses import dataclass

from prebuild_tasks.builds import masked, read_specs, resolve_parameters, workspace_spec
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError, RefusedError
from prebuild_tasks.provisioners import KeepsOutput, Provisioners
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema.lookup import find_workspace, host_of


@dataclass(frozen=True, slots=True)
class ServedLog:
    """The end of what a workspace's served process has written."""

    text: str
    """With secrets masked."""
    running: bool | None
    """Whether the process still runs; None: unknown, or nothing is served."""

    @property
    def sentence(self) -> str:
        """What the text alone does not tell; empty: nothing is known."""
        if self.running is None:
            return "" if self.text else "there is no output of a served process"
        state = "the served process is still running" if self.running else "the served process has ended"
        return state if self.text else f"{state}, and has written nothing"


def served_output(database: Database, settings: Settings, provisioners: Provisioners, name: str) -> ServedLog:
    """Read the end of what a workspace's served process has written.

    Raises NotFoundError, or RefusedError if its provisioner keeps no output, or only another host has it.
    """
    with database.read() as connection:
        workspace = find_workspace(connection, name)
        host = host_of(connection, workspace.id)
        stored = read_specs(connection, [workspace.id]).get(workspace.id)
    if stored is None:  # it was deleted meanwhile
        raise NotFoundError(f"there is no workspace {name}", remedy=Remedy(RemedyKind.LIST_WORKSPACES))
    adapter = provisioners.get(stored.provisioner)
    if not isinstance(adapter, KeepsOutput):
        raise RefusedError(f"the provisioner {stored.provisioner} keeps no output of what a workspace serves")
    if adapter.local and host not in ("", settings.host):
        raise RefusedError(f"only {host} has the output of {workspace.name}", hint=f"repeat this on {host}")
    parameters, secrets = resolve_parameters(stored.parameters, ends=True)
    output = adapter.served_output(workspace_spec(stored, parameters, attempt=1))
    names = {item.name for item in stored.parameters if item.from_env or item.from_file}
    started_with = [value for key, value in output.parameters.items() if key in names]
    return ServedLog(masked(output.text, [*secrets, *started_with]), output.running)
