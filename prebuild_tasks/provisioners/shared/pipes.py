"""The pipes of a running command, without a thread of their own and without ever blocking on one of them."""

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
"""Seconds for output that is still in the pipe; somebody unknown may hold it open and write for ever."""


@dataclass(slots=True)
class Dialogue:
    """What a command is told on standard input and answers on standard output; only standard error is output then."""

    question: bytes = field(repr=False)
    """May hold secrets: it goes through a pipe and is on no disk. A command need not read it."""
    limit: int
    """Bytes an answer may have."""
    answer: bytearray = field(default_factory=bytearray)


class Pipes:
    """All pipes of one command. Output is decoded across reads and goes to the context's log; its end is kept.

    Reading raises ProvisionerError when the answer is longer than its limit.
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
            self._unsaid = memoryview(dialogue.question)
            self._read_from(process.stderr, self._take_output)
            self._read_from(process.stdout, self._take_answer)
            self._register(process.stdin, selectors.EVENT_WRITE, self._say)

    @property
    def is_open(self) -> bool:
        """Whether anything can still come or be said: a command may close its outputs before it listens."""
        return bool(self._selector.get_map())

    def read(self, patience: float) -> bool:
        """Take what comes within this time, and go on with what is to be said; whether there was something."""
        ready = self._selector.select(patience)
        for key, _ in ready:
            key.data(key.fileobj)
        return bool(ready)

    def drain(self) -> None:
        """Take what is left."""
        deadline = monotonic() + _DRAIN
        while self.is_open and monotonic() < deadline and self.read(0.05):
            pass

    def close(self) -> None:
        """Let go of the pipes; the process closes them."""
        self._selector.close()

    def _read_from(self, pipe: IO[bytes] | None, take: Callable[[bytes], None]) -> None:
        def read(pipe: IO[bytes]) -> None:
            data = os.read(pipe.fileno(), _CHUNK)
            if not data:
                self._selector.unregister(pipe)
            take(data)

        self._register(pipe, selectors.EVENT_READ, read)

    def _register(self, pipe: IO[bytes] | None, event: int, handle: Callable[[IO[bytes]], None]) -> None:
        assert pipe is not None  # noqa: S101 - it was asked for
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

    def _say(self, pipe: IO[bytes]) -> None:
        with suppress(BlockingIOError):
            try:
                self._unsaid = self._unsaid[os.write(pipe.fileno(), self._unsaid[:_CHUNK]) :]
            except BrokenPipeError:
                self._unsaid = self._unsaid[:0]  # it has ended, or does not want to know
            if not self._unsaid:
                self._selector.unregister(pipe)
                pipe.close()
