"""A continuous view of the pools, for `up` and `status --watch`: a table on a terminal, else a line per change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from prebuild_tasks.cli.pool_table import is_shown, live_lines
from prebuild_tasks.insight import PoolStatus
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.terminal import escaped
from prebuild_tasks.reconcile import Reason

_STYLES = {
    Reason.NONE: "green",
    Reason.INACTIVE: "dim",
    Reason.PAUSED: "cyan",
    Reason.STARTING: "yellow",
    Reason.NOT_YET: "yellow",
    Reason.BACKOFF: "magenta",
    Reason.SLOW_START: "magenta",
    Reason.PRESET_BUILDS: "yellow",
    Reason.ORGANIZATION_BUILDS: "yellow",
    Reason.GLOBAL_BUILDS: "yellow",
}
_DEFAULT_STYLE = "red"
_OTHER_LINES = 4
"""Lines of a terminal that pools cannot use: heading, totals, error of a read, and cursor."""


class PoolView:
    """A context manager that shows the pools as they change.

    Args:
        console: Where the table goes, if it is a terminal.
        say: Called with each line, if it is not a terminal.
        select: Whether a pool is shown; by default, all but superseded versions.
    """

    def __init__(
        self, console: Console, say: Callable[[str], None], select: Callable[[PoolStatus], bool] = is_shown
    ) -> None:
        """Prepare a live table, or plain lines where the console is not a terminal."""
        self._select = select
        self._console = console
        self._say = say
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown: dict[PresetRef, PoolStatus] | None = None
        self._error = ""

    def __enter__(self) -> Self:
        """Start the live table."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop the live table."""
        if self._live:
            self._live.stop()

    def show(self, rows: Sequence[PoolStatus]) -> None:
        """Show the current state of the pools."""
        rows = [row for row in rows if self._select(row)]
        before, self._shown = self._shown, {row.preset: row for row in rows}
        self._error = ""
        if self._live:
            self._live.update(self._table(rows), refresh=True)
            return
        if not rows and before is None:
            self._say("nothing is declared yet; run: prebuild apply FILE")
        before = before or {}
        if changed := [row for row in rows if before.get(row.preset) != row]:
            self._say("; ".join(line(row) for row in changed))
        if gone := sorted(map(str, before.keys() - self._shown.keys())):
            self._say(f"gone: {', '.join(gone)}")

    def show_error(self, sentence: str) -> None:
        """Show why the pools cannot be read, beside their last known state."""
        if sentence == self._error:
            return
        self._error = sentence
        if self._live:
            shown = self._table(list((self._shown or {}).values()))
            error = Text(escaped(sentence), style="red", no_wrap=True, overflow="ellipsis")
            self._live.update(Group(shown, error), refresh=True)
        else:
            self._say(sentence)

    def _table(self, rows: Sequence[PoolStatus]) -> Group:
        """Return a line per pool, colored by its reason, as far as the terminal has room."""
        lines = live_lines(rows, self._console.width, self._console.height - _OTHER_LINES)
        return Group(
            *(
                Text(
                    line.text,
                    style=_STYLES.get(Reason(line.pool.reason), _DEFAULT_STYLE) if line.pool else "bold",
                    no_wrap=True,
                    overflow="ellipsis",
                )
                for line in lines
            )
        )


def line(row: PoolStatus) -> str:
    """Return a pool as one line, such as `dev/small 1/3, back off until 10:32:05`."""
    action = f", {row.next_action}" if row.next_action else ""
    return f"{row.preset} {row.eligible}/{row.desired}{action}"
