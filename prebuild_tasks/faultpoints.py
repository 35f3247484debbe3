"""Named steps at which a process can be made to die or to freeze, for the fault tests. Off, a step is an empty call.

PREBUILD_FAULT_DIR=faults: the first process that comes to the step `start.before_end` while the file
faults/start.before_end is there takes the file away, and then does to itself what stands in it: a signal's name, and
`group` when the whole process group is meant.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

_DIRECTORY = os.environ.get("PREBUILD_FAULT_DIR", "")


def _off(_name: str) -> None:
    """Nobody dies."""


def _on(name: str) -> None:
    armed = Path(_DIRECTORY, name)
    mine = armed.with_name(f"{name}.{os.getpid()}")
    try:
        armed.rename(mine)  # of several that come at once, one gets it
    except OSError:
        return
    number, *whom = mine.read_text().split()
    mine.unlink()
    send = os.killpg if whom else os.kill
    send(os.getpgrp() if whom else os.getpid(), signal.Signals[number])


step: Callable[[str], None] = _on if _DIRECTORY else _off
"""Call it with the step's name."""
