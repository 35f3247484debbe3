"""What a template declares for the process provisioner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from prebuild_tasks.provisioners.shared.config import Command, checked, size_in_bytes

Size = Annotated[int, BeforeValidator(size_in_bytes)]
AtLeastOne = Annotated[int, Field(ge=1, strict=True)]


class Limits(BaseModel):
    """What each command of a workspace, and each process it starts, may use; the kernel's resource limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory: Size | None = None
    """Address space of one process, e.g. 2g."""
    file_size: Size | None = None
    """The longest file that may be written."""
    files: AtLeastOne | None = None
    """Open files of one process."""
    processes: AtLeastOne | None = None
    """Of the user that the builds worker runs as, all workspaces together; nothing for root."""
    cpu_seconds: AtLeastOne | None = None
    """Of one process; not for what is served."""

    def wrap(self, argv: list[str], *, served: bool = False) -> list[str]:
        """The same command under these limits. `sh` sets them: a fork of our own would not be safe in threads."""
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
    """`config:` of a template with `provisioner: process`. A string is a script for `sh -eu`, a list is argv."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Command
    """Makes the workspace, in its directory. What it leaves running is ended: see `serve`."""
    serve: Command | None = None
    """Long-lived, in the foreground; listens on $PORT of $PREBUILD_WORKSPACE_BIND."""
    ready: Command | None = None
    """Exit 0: ready. Left out: ready when something listens on $PORT, or at once without `serve`."""
    claim: Command | None = None
    """Run for the new owner, $PREBUILD_OWNER, until it succeeded once."""
    limits: Limits = Limits()


def parse(config: Mapping[str, Any]) -> ProcessConfig:
    """The checked config. Raises BadConfigError, in words for the one who wrote it."""
    names = ", ".join(Limits.model_fields)
    return checked(ProcessConfig, config, {"limits": f"takes {names}: sizes such as 512m, or whole numbers"})
