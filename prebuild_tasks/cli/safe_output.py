"""Output that survives a pipe whose reader has ended, a terminal that was closed and a full disk."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import IO, cast

from prebuild_tasks.model.terminal import escaped


class SafeOutput:
    """A text stream that drops what cannot be written, so that a failed write does not end the service."""

    def __init__(self, stream: IO[str]) -> None:
        """Wrap a stream."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, or drop it, and return its length."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream if that is possible."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        """Return everything else from the stream itself."""
        return getattr(self._stream, name)


class EscapedOutput:
    """A text stream that escapes control characters, and so is not a terminal for those who ask."""

    def __init__(self, stream: IO[str]) -> None:
        """Wrap a stream."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text escaped, and return its length."""
        self._stream.write(escaped(text))
        return len(text)

    def isatty(self) -> bool:
        """Return False, so that nobody writes a control sequence."""
        return False

    def __getattr__(self, name: str) -> object:
        """Return everything else from the stream itself."""
        return getattr(self._stream, name)


def standard_output() -> IO[str] | None:
    """Return standard output as a SafeOutput; None when the process was started without one."""
    return cast("IO[str]", SafeOutput(sys.stdout)) if sys.stdout else None


def make_writable() -> None:
    r"""Make the standard streams usable, however the command was started.

    A closed stream becomes one to nowhere: Python has None for it, and the next file or connection to be opened would
    get its number. A letter that a stream cannot encode is written as `\xe4`.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_unwritten() -> None:
    """Drop buffered output that cannot be written.

    Otherwise Python tries once more when it exits, fails, and makes the exit code 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
