"""A running build, as provisioners under test see it."""

from __future__ import annotations

import threading

from prebuild_tasks.errors import BuildStoppedError


class Context:
    """ports.BuildContext that remembers the output and can be told to stop."""

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
