"""What a command shows while it takes long, on standard error: a moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from threading import Timer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:  # a claim does not pay for it before it waits
    from rich.progress import Progress

_PATIENCE = 1.0
"""Seconds a plain line waits for, as most commands are done by then."""


class Working:
    """Shows what is being done until the `with` ends. Nothing when `quiet`, which is what --json asks for."""

    def __init__(self, words: str, *, quiet: bool = False, patience: float = _PATIENCE) -> None:
        """Prepare the line; it is shown after `patience` seconds where there is no terminal."""
        self._words = words
        self._quiet = quiet
        self._patience = patience
        self._bar: Progress | None = None
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        """Begin to show it."""
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.table import Column

            room = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # a long sentence gives way to the clock
            text = TextColumn("{task.description}", markup=False, table_column=room)
            columns = (SpinnerColumn(), text, TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, expand=True)
            self._bar.add_task(self._words, total=None)
            self._bar.start()
        elif not self._quiet:
            self._line_later(self._words)
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        self._forget_line()
        if self._bar:
            self._bar.stop()

    def say(self, words: str) -> None:
        """Something else is being done, or waited for, from now on."""
        self._words = words
        if self._bar:
            self._bar.update(self._bar.task_ids[0], description=words)
        elif not self._quiet:
            self._line_later(words)

    def _line_later(self, words: str) -> None:
        self._forget_line()
        if self._patience <= 0:
            self._line(words)
            return
        self._timer = Timer(self._patience, self._line, (words,))
        self._timer.daemon = True
        self._timer.start()

    def _forget_line(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _line(self, words: str) -> None:
        self._forget_line()
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()
