"""A worker process for tests to kill or stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


class Worker:
    """A process that runs a claim until it is killed or stopped."""

    def __init__(self, claim: Callable[[], None]) -> None:
        self.pid = os.fork()
        if not self.pid:
            try:
                claim()
            finally:
                os._exit(0)

    def lose(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def bury(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
