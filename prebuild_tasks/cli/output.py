"""Output of commands: JSON for scripts, tables on a terminal, and plain columns elsewhere."""

from __future__ import annotations

import gc
import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from shutil import get_terminal_size
from typing import Annotated, Protocol, TextIO, TypeVar

import typer

from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.model.terminal import escaped, escaped_json

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
"""Columns of `up`, `status` and `status --watch`: the key in a row and the heading."""

_opened = ExitStack()


class Closable(Protocol):
    """A resource that must be closed when a command ends."""

    def close(self) -> None:
        """Close the resource's connections."""


C = TypeVar("C", bound=Closable)


def opened(resource: C) -> C:
    """Return the resource unchanged, and close it when the command ends, even by an error."""
    _opened.callback(resource.close)
    return resource


def close_opened() -> None:
    """Close every resource that the command opened."""
    _opened.close()


def os_user() -> str:
    """Return the name of the user who runs the command, which is the default of --actor."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


ActorOption = Annotated[
    str,
    typer.Option(
        "--actor", default_factory=os_user, show_default="your user name", help="Name to record in the history"
    ),
]


def keep_everything() -> None:
    """Switch garbage collection off until the command ends.

    For a short command that reads many rows, collection would take a third of its time.
    """
    gc.disable()
    _opened.callback(gc.enable)


def write(text: str, *, color: str | None = None, bold: bool = False) -> None:
    """Write a line to standard output, with its control characters escaped; colored on a terminal only."""
    line = escaped(text)
    sys.stdout.write((typer.style(line, fg=color, bold=bold) if _is_styled(color, bold=bold) else line) + "\n")


def _is_styled(color: str | None, *, bold: bool) -> bool:
    return (color is not None or bold) and sys.stdout.isatty()


def write_json(value: JsonValue) -> None:
    """Write indented JSON to standard output. Raises ValueError for infinity and NaN, which JSON does not have."""
    _write_json(value, indent=2)


def write_json_line(value: JsonValue) -> None:
    """Write JSON on one line and flush it, so that a reader gets each of several values as it comes."""
    _write_json(value)
    sys.stdout.flush()


def _write_json(value: JsonValue, *, indent: int | None = None) -> None:
    # A letter that the stream cannot encode would be written as \\xe4, which JSON does not have.
    text = json.dumps(value, indent=indent, ensure_ascii=not _is_unicode(sys.stdout), allow_nan=False)
    sys.stdout.write(escaped_json(text) + "\n")


def _is_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "utf-8").lower().replace("-", "").replace("_", "").startswith("utf")


def write_rows(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str], *, empty: str) -> None:
    """Write rows as a table.

    Args:
        rows: The rows.
        columns: The heading of each key to show.
        empty: The sentence to write when there are no rows.
    """
    if not rows:
        write(empty)
        return
    cells = [[_cell(row.get(key)) for key in columns] for row in rows]
    lines = [list(columns.values()), *cells]
    # Only columns of sentences are wrapped, so that names and URLs can be copied.
    sentences = [any(" " in cell for cell in column) for column in zip(*cells, strict=True)]
    if sys.stdout.isatty() and _narrowest(lines, sentences) <= get_terminal_size().columns:
        from rich.console import Console
        from rich.table import Column, Table
        from rich.text import Text

        headings = zip(columns.values(), sentences, strict=True)
        breakable = [Column(name, no_wrap=not sentence, overflow="fold") for name, sentence in headings]
        table = Table(*breakable, box=None, pad_edge=False)
        for line in cells:
            table.add_row(*(Text(cell) for cell in line))
        Console().print(table)
        return
    widths = [max(len(line[position]) for line in lines) for position in range(len(columns))]
    for line in lines:
        write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def write_more(rows: Sequence[object], limit: int, which: str) -> None:
    """Write that there may be more rows, when as many as the limit were read.

    `which` says which rows were read: "newest" or "first".
    """
    if len(rows) == limit:
        write(f"(the {which} {limit}; more with --limit)")


def _narrowest(lines: Sequence[Sequence[str]], sentences: Sequence[bool]) -> int:
    """Return the fewest columns of a terminal that a table fits without cutting words."""
    columns = zip(zip(*lines, strict=True), sentences, strict=True)
    parts = ([word for cell in column for word in cell.split()] if breaks else column for column, breaks in columns)
    return sum(max(map(len, part), default=0) + 2 for part in parts)


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)
    return escaped(" ".join(text.split()))
