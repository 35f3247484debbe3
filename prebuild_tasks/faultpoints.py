"""Named steps at which a process can be made to die, for the fault tests. Costs a call of nothing when it is off.

PREBUILD_FAULT_STEP=start.after_provisioner PREBUILD_FAULT_ONCE=died: the first process that comes to this step
makes the file and kills itself with SIGKILL; where the file is there already, nobody dies.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

_STEP = os.environ.get("PREBUILD_FAULT_STEP", "")


def _off(_name: str) -> None:
    """Nobody dies."""


def _on(name: str) -> None:
    if name != _STEP:
        return
    if once := os.environ.get("PREBUILD_FAULT_ONCE", ""):
        try:
            os.close(os.open(once, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return
    os.kill(os.getpid(), signal.SIGKILL)


step: Callable[[str], None] = _on if _STEP else _off
"""Call it with the step's name."""
