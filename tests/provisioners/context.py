"""A running build, as provisioners under test see it."""

from __future__ import annotations

import threading

from prebuild_tasks.errors import BuildStoppedError


class Context:
    """A provisioners.BuildContext that records the output and can be canceled."""

    def __init__(self) -> None:
        self.text = ""
        self._stopped = threading.Event()

    def log(self, text: str) -> None:
        self.text += text

    def check(self) -> None:
        if self._stopped.is_set():
            raise BuildStoppedError("stopped", reason="canceled")

    def wait(self, seconds: float) -> None:
        self._stopped.wait(seconds)
        self.check()

    def stop(self) -> None:
        self._stopped.set()


class PausingContext(Context):
    """The context of a worker that freezes at its n-th check, as on a suspended machine, until it is woken up."""

    def __init__(self, pause_at: int) -> None:
        super().__init__()
        self._left = pause_at
        self.paused = threading.Event()
        self._woken = threading.Event()

    def check(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.paused.set()
            assert self._woken.wait(60)
        super().check()

    def wake(self) -> None:
        self._woken.set()
