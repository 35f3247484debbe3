"""The `config` of a template for the process provisioner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from prebuild_tasks.provisioners.shared.config import Command, size_in_bytes, validated

Size = Annotated[int, BeforeValidator(size_in_bytes)]
AtLeastOne = Annotated[int, Field(ge=1, strict=True)]


class ResourceLimits(BaseModel):
    """The kernel's resource limits for each command of a workspace and each process that it starts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory: Size | None = None
    """Bytes of address space of one process; declared as a size such as 2g."""
    file_size: Size | None = None
    """Bytes of the largest file that may be written."""
    files: AtLeastOne | None = None
    """The most open files of one process."""
    processes: AtLeastOne | None = None
    """The most processes of the builds worker's user, in all workspaces together. Root is not limited."""
    cpu_seconds: AtLeastOne | None = None
    """Seconds of CPU time of one process, except the served one."""

    def wrap(self, argv: list[str], *, served: bool = False) -> list[str]:
        """Return the command that runs another under these limits.

        `sh` sets them, because builds run in threads, where a function between fork and exec is not safe.
        """
        flags = {
            "-v": self.memory and self.memory // 1024,
            "-f": self.file_size and -(-self.file_size // 512),
            "-n": self.files,
            "-u": self.processes,
            "-t": None if served else self.cpu_seconds,
        }
        script = "".join(f"ulimit {flag} {value} || exit 126; " for flag, value in flags.items() if value)
        return ["sh", "-c", f'{script}exec "$@"', "limits", *argv] if script else argv


class ProcessConfig(BaseModel):
    """The `config` of a template with `provisioner: process`. A string is a script for `sh -eu`, a list is argv."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Command
    """Makes the workspace in its directory. What it leaves running is ended; use `serve` for that."""
    serve: Command | None = None
    """A long-lived command in the foreground that listens on $PORT of $PREBUILD_WORKSPACE_BIND."""
    ready: Command | None = None
    """Exits with 0 when the workspace is ready. Without it, the port must answer if there is a `serve`."""
    claim: Command | None = None
    """Run for the new owner, $PREBUILD_OWNER, until it has succeeded once."""
    limits: ResourceLimits = ResourceLimits()


def parse(config: Mapping[str, object]) -> ProcessConfig:
    """Return the validated config. Raises BadConfigError with a message for the author of the template."""
    names = ", ".join(ResourceLimits.model_fields)
    return validated(ProcessConfig, config, {"limits": f"takes {names}: sizes such as 512m, or whole numbers"})
