"""Read and write the pipes of a running command, without a thread and without blocking."""

from __future__ import annotations

import codecs
import os
import selectors
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.provisioners.port import BuildContext

_CHUNK = 65536
_TAIL = 2000
_DRAIN = 1.0
"""Seconds for output that is still in the pipe. An unknown process may hold it open and write forever."""


@dataclass(slots=True)
class Dialogue:
    """A question for standard input and the answer from standard output. Only standard error is logged as output."""

    question: bytes = field(repr=False)
    """May hold secrets, so it goes through a pipe and is never written to disk. A command need not read it."""
    limit: int
    """The most bytes an answer may have."""
    answer: bytearray = field(default_factory=bytearray)


class Pipes:
    """The pipes of one command.

    Output is decoded across reads and passed to the context's log; `tail` keeps the last of it. Reading raises
    ProvisionerError when the answer is longer than its limit.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], context: BuildContext | None, dialogue: Dialogue | None
    ) -> None:
        self.tail = ""
        self._context = context
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._selector = selectors.DefaultSelector()
        if dialogue is None:
            self._read_from(process.stdout, self._take_output)
        else:
            self._answer, self._limit = dialogue.answer, dialogue.limit
            self._unsent = memoryview(dialogue.question)
            self._read_from(process.stderr, self._take_output)
            self._read_from(process.stdout, self._take_answer)
            self._register(process.stdin, selectors.EVENT_WRITE, self._send)

    @property
    def is_open(self) -> bool:
        """Whether a pipe is still open: a command may close its outputs before it reads its input."""
        return bool(self._selector.get_map())

    def read(self, timeout: float) -> bool:
        """Read and write what is possible within this time. Returns whether anything was."""
        ready = self._selector.select(timeout)
        for key, _ in ready:
            key.data(key.fileobj)
        return bool(ready)

    def drain(self) -> None:
        """Read what is left in the pipes."""
        deadline = monotonic() + _DRAIN
        while self.is_open and monotonic() < deadline and self.read(0.05):
            pass

    def close(self) -> None:
        """Stop watching the pipes; the process object closes them."""
        self._selector.close()

    def _read_from(self, pipe: IO[bytes] | None, take: Callable[[bytes], None]) -> None:
        def read(pipe: IO[bytes]) -> None:
            data = os.read(pipe.fileno(), _CHUNK)
            if not data:
                self._selector.unregister(pipe)
            take(data)

        self._register(pipe, selectors.EVENT_READ, read)

    def _register(self, pipe: IO[bytes] | None, event: int, handle: Callable[[IO[bytes]], None]) -> None:
        assert pipe is not None  # noqa: S101 - the process was started with this pipe
        os.set_blocking(pipe.fileno(), False)
        self._selector.register(pipe, event, handle)

    def _take_output(self, data: bytes) -> None:
        text = self._decoder.decode(data, final=not data)
        self.tail = (self.tail + text)[-_TAIL:]
        if text and self._context is not None:
            self._context.log(text)

    def _take_answer(self, data: bytes) -> None:
        self._answer += data
        if len(self._answer) > self._limit:
            raise ProvisionerError(f"the answer on standard output is longer than {self._limit} bytes")

    def _send(self, pipe: IO[bytes]) -> None:
        with suppress(BlockingIOError):
            try:
                self._unsent = self._unsent[os.write(pipe.fileno(), self._unsent[:_CHUNK]) :]
            except BrokenPipeError:
                self._unsent = self._unsent[:0]  # the command has ended or does not read its input
            if not self._unsent:
                self._selector.unregister(pipe)
                pipe.close()
