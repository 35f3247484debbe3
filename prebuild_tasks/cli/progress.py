"""Progress of a command that takes long, on standard error: a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from threading import Timer
from typing import TYPE_CHECKING, Self

from prebuild_tasks.model.terminal import escaped

if TYPE_CHECKING:  # imported when it is first shown, because a claim that need not wait must be quick
    from rich.progress import Progress

_DELAY = 1.0
"""Seconds until a plain line is written. Most commands have ended by then."""


class Working:
    """A context manager that shows what the command is doing."""

    def __init__(self, activity: str, *, quiet: bool = False, delay: float = _DELAY) -> None:
        """Show nothing yet.

        Args:
            activity: What is being done.
            quiet: Whether to show nothing, as with --json.
            delay: Seconds until a plain line is written.
        """
        self._activity = escaped(activity)
        self._quiet = quiet
        self._delay = delay
        self._bar: Progress | None = None
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        """Begin to show it."""
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.table import Column

            room = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # cut a long sentence, not the clock
            text = TextColumn("{task.description}", markup=False, table_column=room)
            columns = (SpinnerColumn(), text, TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, expand=True)
            self._bar.add_task(self._activity, total=None)
            self._bar.start()
        elif not self._quiet:
            self._write_later(self._activity)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the spinner, or cancel the line."""
        self._cancel_line()
        if self._bar:
            self._bar.stop()

    def say(self, activity: str) -> None:
        """Show another activity from now on."""
        self._activity = activity = escaped(activity)
        if self._bar:
            self._bar.update(self._bar.task_ids[0], description=activity)
        elif not self._quiet:
            self._write_later(activity)

    def _write_later(self, line: str) -> None:
        self._cancel_line()
        if self._delay <= 0:
            self._write(line)
            return
        self._timer = Timer(self._delay, self._write, (line,))
        self._timer.daemon = True
        self._timer.start()

    def _cancel_line(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _write(self, line: str) -> None:
        self._cancel_line()
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
