"""An output that may go away: a pipe's reader that has ended, a terminal that was closed, a disk that is full."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import IO, cast


class Lossy:
    """A text stream that loses what can't be written, for whom the work counts and not what is said about it."""

    def __init__(self, stream: IO[str]) -> None:
        """Wrap a stream."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written; return the length of all of it."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if it still takes anything."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        """Return everything else from the stream itself."""
        return getattr(self._stream, name)


def standard_output() -> IO[str] | None:
    """This process's, made lossy; None when it was started without one."""
    return cast("IO[str]", Lossy(sys.stdout)) if sys.stdout else None


def forget_unwritten() -> None:
    """Drop what standard output and error hold and can't write: Python's own last try would make the exit code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
