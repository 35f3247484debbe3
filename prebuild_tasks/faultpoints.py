"""Named steps at which a fault test can kill or freeze a process. Unless switched on, a step is an empty call.

With PREBUILD_FAULT_DIR=faults, the first process that reaches the step `start.before_end` while the file
faults/start.before_end exists removes the file and sends itself the signal that the file names. If the word `group`
follows, the signal goes to the whole process group.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

_DIRECTORY = os.environ.get("PREBUILD_FAULT_DIR", "")


def _off(_name: str) -> None:
    """Do nothing."""


def _on(name: str) -> None:
    armed = Path(_DIRECTORY, name)
    taken = armed.with_name(f"{name}.{os.getpid()}")
    try:
        armed.rename(taken)  # only one of several processes succeeds
    except OSError:
        return
    signal_name, *group = taken.read_text().split()
    taken.unlink()
    send = os.killpg if group else os.kill
    send(os.getpgrp() if group else os.getpid(), signal.Signals[signal_name])


step: Callable[[str], None] = _on if _DIRECTORY else _off
"""Reach a step, given by its name."""
