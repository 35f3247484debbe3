"""A continuous view of the pools, for `up` and `status --watch`: a table on a terminal, else a line per change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from prebuild_tasks.cli.output import POOL_COLUMNS
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
"""Lines of a terminal that rows cannot use: heading, count of omitted rows, caption and cursor."""


class PoolView:
    """A context manager that shows the pools as they change.

    Args:
        console: Where the table goes, if it is a terminal.
        say: Called with each line, if it is not a terminal.
    """

    def __init__(self, console: Console, say: Callable[[str], None]) -> None:
        """Prepare a live table, or plain lines where the console is not a terminal."""
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
        before, self._shown = self._shown, {row.preset: row for row in rows}
        self._error = ""
        if self._live:
            self._live.update(table(rows, self._console.height - _OTHER_LINES), refresh=True)
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
            shown = table(list((self._shown or {}).values()), self._console.height - _OTHER_LINES)
            shown.caption = Text(escaped(sentence), style="red")
            self._live.update(shown, refresh=True)
        else:
            self._say(sentence)


def line(row: PoolStatus) -> str:
    """Return a pool as one line, such as `dev/small 1/3, back off until 10:32:05`."""
    action = f", {row.next_action}" if row.next_action else ""
    return f"{row.preset} {row.eligible}/{row.desired}{action}"


def table(rows: Sequence[PoolStatus], height: int | None = None) -> Table:
    """Return a table with a line per pool.

    If there are more than `height` allows, pools that are not full come first and the rest is counted.
    """
    shown = list(rows)
    if height is not None and len(shown) > max(height, 1):
        shown = sorted(shown, key=lambda row: row.full)[: max(height, 1)]
    rendered = Table(*POOL_COLUMNS.values(), box=None, pad_edge=False)
    for column in rendered.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    for row in shown:
        cells = {key: getattr(row, key) for key in POOL_COLUMNS}
        cells["reason"] = "" if row.reason == Reason.NONE else row.reason.replace("_", " ")
        style = _STYLES.get(Reason(row.reason), _DEFAULT_STYLE)
        rendered.add_row(*(Text(escaped(" ".join(str(cell).split()))) for cell in cells.values()), style=style)
    if left := len(rows) - len(shown):
        full = sum(row.full for row in rows)
        rendered.add_row(Text(f"… {left} more; {full} of {len(rows)} are full"), style="dim")
    return rendered
