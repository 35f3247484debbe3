"""How commands print: JSON for scripts, a table for people, plain columns where no terminal is."""

from __future__ import annotations

import gc
import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from shutil import get_terminal_size
from typing import Annotated, Protocol, TypeVar

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]


POOL_COLUMNS = {
    "preset": "PRESET",
    "desired": "DESIRED",
    "eligible": "ELIGIBLE",
    "starting": "STARTING",
    "failed": "FAILED",
    "reason": "REASON",
    "next_action": "NEXT ACTION",
    "last_error": "LAST ERROR",
}
"""A pool as `status` and `status --watch` show it."""

_opened = ExitStack()


class Closable(Protocol):
    """Something with connections."""

    def close(self) -> None:
        """Close the connections."""


C = TypeVar("C", bound=Closable)


def opened(thing: C) -> C:
    """The thing itself; it is closed when the command ends, however it ends."""
    _opened.callback(thing.close)
    return thing


def close_opened() -> None:
    """Close what the command opened."""
    _opened.close()


def os_user() -> str:
    """Who runs the command; the default of --actor."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


ActorOption = Annotated[str, typer.Option("--actor", default_factory=os_user, help="Who does this, for history")]


def keep_everything() -> None:
    """For a command that reads much and ends: looking for garbage would take a third of its time."""
    gc.disable()
    _opened.callback(gc.enable)


def write(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")


def write_json(value: object) -> None:
    """Indented JSON on standard output. Raises ValueError for infinity and NaN, which JSON has no words for."""
    write(json.dumps(value, indent=2, default=str, ensure_ascii=False, allow_nan=False))


def write_json_line(value: object) -> None:
    """JSON on one line of standard output, at once: one of several values that come by and by."""
    write(json.dumps(value, default=str, ensure_ascii=False, allow_nan=False))
    sys.stdout.flush()


def write_rows(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str], *, empty: str) -> None:
    """Rows as columns (`columns`: key to heading), or the sentence for none."""
    if not rows:
        write(empty)
        return
    cells = [[_cell(row.get(key)) for key in columns] for row in rows]
    lines = [list(columns.values()), *cells]
    # Names and URLs are to be copied, so only columns of sentences are broken into several lines.
    sentences = [any(" " in cell for cell in column) for column in zip(*cells, strict=True)]
    if sys.stdout.isatty() and _narrowest(lines, sentences) <= get_terminal_size().columns:
        from rich.console import Console
        from rich.table import Column, Table

        headings = zip(columns.values(), sentences, strict=True)
        breakable = [Column(name, no_wrap=not sentence, overflow="fold") for name, sentence in headings]
        table = Table(*breakable, box=None, pad_edge=False)
        for line in cells:
            table.add_row(*(cell.replace("[", "\\[") for cell in line))
        Console().print(table)
        return
    widths = [max(len(line[position]) for line in lines) for position in range(len(columns))]
    for line in lines:
        write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def write_more(rows: Sequence[object], limit: int, which: str) -> None:
    """That there may be more than the `limit` rows that were asked for; `which` they are: newest, first."""
    if len(rows) == limit:
        write(f"(the {which} {limit}; more with --limit)")


def _narrowest(lines: Sequence[Sequence[str]], sentences: Sequence[bool]) -> int:
    """How narrow a table can be made; any narrower, and it would leave out letters."""
    columns = zip(zip(*lines, strict=True), sentences, strict=True)
    parts = ([word for cell in column for word in cell.split()] if breaks else column for column, breaks in columns)
    return sum(max(map(len, part), default=0) + 2 for part in parts)


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)
    return " ".join(text.split())
