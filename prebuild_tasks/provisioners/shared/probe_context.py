"""The context of a probe that can be ended while its command runs."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep


class ProbeContext:
    """A `provisioners.BuildContext` that keeps no output, because the last of it is in the probe's message.

    Args:
        between: Called a few times a second. What it raises ends the command, and is not an answer.
    """

    def __init__(self, between: Callable[[], None]) -> None:
        self._between = between
        self._raised: Exception | None = None

    def log(self, text: str) -> None:
        """Ignore the output."""

    def check(self) -> None:
        try:
            self._between()
        except Exception as error:
            self._raised = error
            raise

    def wait(self, seconds: float) -> None:
        sleep(seconds)
        self.check()

    def ended_by(self, error: Exception) -> bool:
        """Return whether `between` raised this error."""
        return error is self._raised


def uninterrupted() -> None:
    """Let a probe run to its end."""
