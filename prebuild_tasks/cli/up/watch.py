"""Pools that are looked at again and again: a live table on a terminal, else a line per change. For `status`, `up`."""

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
_OTHERWISE = "red"
_AROUND = 4
"""Lines of a terminal that the rows can't have: the heading, what was left out, the caption, the cursor's."""


class PoolView:
    """Shows pools as they change. `say` gets the lines where the console is no terminal."""

    def __init__(self, console: Console, say: Callable[[str], None]) -> None:
        """Prepare a live table, or plain lines where the console is not a terminal."""
        self._console = console
        self._say = say
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown: dict[str, PoolStatus] | None = None
        self._trouble = ""

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
        """The pools as they are now."""
        before, self._shown = self._shown, {row.preset: row for row in rows}
        self._trouble = ""
        if self._live:
            self._live.update(table(rows, self._console.height - _AROUND), refresh=True)
            return
        if not rows and before is None:
            self._say("nothing is declared yet; run: prebuild apply FILE")
        before = before or {}
        if changed := [row for row in rows if before.get(row.preset) != row]:
            self._say("; ".join(line(row) for row in changed))
        if gone := sorted(before.keys() - self._shown.keys()):
            self._say(f"gone: {', '.join(gone)}")

    def trouble(self, sentence: str) -> None:
        """The pools can't be read right now; what was shown last stays."""
        if sentence == self._trouble:
            return
        self._trouble = sentence
        if self._live:
            shown = table(list((self._shown or {}).values()), self._console.height - _AROUND)
            shown.caption = Text(sentence, style="red")
            self._live.update(shown, refresh=True)
        else:
            self._say(sentence)


def line(row: PoolStatus) -> str:
    """One pool in one line: `dev/small 1/3, back off until 10:32:05`."""
    action = f", {row.next_action}" if row.next_action else ""
    return f"{row.preset} {row.eligible}/{row.desired}{action}"


def table(rows: Sequence[PoolStatus], height: int | None = None) -> Table:
    """One line per pool; where there are more than fit `height`, those that are short first."""
    shown = list(rows)
    if height is not None and len(shown) > max(height, 1):
        shown = sorted(shown, key=lambda row: row.full)[: max(height, 1)]
    headings = Table(*POOL_COLUMNS.values(), box=None, pad_edge=False)
    for column in headings.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    for row in shown:
        cells = {key: getattr(row, key) for key in POOL_COLUMNS}
        cells["reason"] = "" if row.reason == Reason.NONE else row.reason.replace("_", " ")
        style = _STYLES.get(Reason(row.reason), _OTHERWISE)
        headings.add_row(*(Text(" ".join(str(cell).split())) for cell in cells.values()), style=style)
    if left := len(rows) - len(shown):
        full = sum(row.full for row in rows)
        headings.add_row(Text(f"… {left} more; {full} of {len(rows)} are full"), style="dim")
    return headings
