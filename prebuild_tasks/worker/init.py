"""A warning where no init collects the ended processes of workspaces.

A process whose parent has ended becomes a child of process 1. A builds worker must not collect them itself with
`waitpid(-1)`, because that takes the exit codes that its own threads wait for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from prebuild_tasks.logs import get_logger
from prebuild_tasks.remedies import Remedy, RemedyKind

log = get_logger(__name__)

_REMEDY = Remedy(RemedyKind.START_WITH_INIT)


def warn_without_init() -> None:
    """Log a warning if process 1 is this process or another Python program, which collects no foreign processes."""
    command: Sequence[str] = ()
    with suppress(OSError):
        command = Path("/proc/1/cmdline").read_text(errors="replace").split("\0")
    if lacks_init(os.getpid(), command):
        log.warning("no_init", problem="ended processes of workspaces stay behind as zombies", next=str(_REMEDY))


def lacks_init(pid: int, command: Sequence[str]) -> bool:
    """Return whether nothing collects the processes whose parent has ended.

    Args:
        pid: The id of this process.
        command: The command line of process 1; empty: unknown.
    """
    return pid == 1 or PurePath(next(iter(command), "")).name.startswith("python")
