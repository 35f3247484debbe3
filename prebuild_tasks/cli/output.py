"""Output of commands: JSON for scripts, tables on a terminal, and plain columns elsewhere."""

from __future__ import annotations

import gc
import getpass
import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from shutil import get_terminal_size
from typing import Annotated, Protocol, TextIO, TypeVar

import typer

from prebuild_tasks.cli.tables import lay_out
from prebuild_tasks.model.actors import check_person
from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.model.terminal import escaped, escaped_json

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]

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


def _actor(context: typer.Context, parameter: typer.CallbackParam, value: str) -> str:
    """Return the actor.

    Raises InputError for one that is named like a token, or on the command line where a token is the actor.
    """
    source = context.get_parameter_source(str(parameter.name))
    if source and source.name == "COMMANDLINE":
        from prebuild_tasks.cli.afar import refuse_actor

        refuse_actor(_main_command(context))
    return check_person(value)


def _main_command(context: typer.Context) -> str:
    """Return the name of the command below `prebuild`, which may be a group."""
    name, parent = context.info_name, context.parent
    while parent is not None and parent.parent is not None:
        name, parent = parent.info_name, parent.parent
    return str(name)


ActorOption = Annotated[
    str,
    typer.Option(
        "--actor", default_factory=os_user, show_default="your user name", callback=_actor,
        help="Name to record in the history; over HTTP, that of the token is recorded",
    ),
]  # fmt: skip


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


def write_warnings(warnings: Iterable[str]) -> None:
    """Write a line to standard error for each warning."""
    for warning in warnings:
        sys.stderr.write(escaped(f"warning: {warning}\n"))


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


def write_once(secret: str, note: str) -> None:
    """Write what nobody can print again, and on a terminal a note that says so."""
    write(secret)
    if sys.stdout.isatty():
        sys.stderr.write(f"{note}\n")


def write_changed(name: str, state: str, *, changed: bool, as_json: bool) -> None:
    """Write that something is in a state now, or was already."""
    if as_json:
        write_json({"name": name, "changed": changed})
    else:
        write(f"{name} is {state}" if changed else f"{name} was {state} already")


def screen_width() -> int | None:
    """Return the columns of the terminal that standard output is; None: it is none."""
    return get_terminal_size().columns if sys.stdout.isatty() else None


def write_rows(
    rows: Sequence[Mapping[str, object]],
    columns: Mapping[str, str],
    *,
    empty: str,
    below: Collection[str] = (),
    gives_way: Sequence[str] = (),
    width: int | None = None,
) -> None:
    """Write rows as a table, which loses nothing in a narrow terminal.

    Args:
        rows: The rows. A column that is empty in all of them is left out.
        columns: The heading of each key to show.
        empty: The sentence to write when there are no rows.
        below: Keys whose cells stand on a line of their own below their row.
        gives_way: Keys whose cells stand there in a terminal that is too narrow, the first of them first.
        width: The widest that the table may be where there is no terminal; None: as wide as its rows.
    """
    if not rows:
        write(empty)
        return
    cells = [{key: cell_text(row.get(key)) for key in columns} for row in rows]
    for lines in lay_out(cells, columns, screen_width() or width, below=below, gives_way=gives_way):
        for line in lines:
            write(line)


def write_more(rows: Sequence[object], limit: int, which: str) -> None:
    """Write that there may be more rows, when as many as the limit were read.

    `which` says which rows were read: "newest" or "first".
    """
    if len(rows) == limit:
        write(f"(the {which} {limit}; more with --limit)")


def cell_text(value: object) -> str:
    """Return a value as the text of a cell: on one line, with its control characters escaped; a time to the second."""
    match value:
        case None:
            return ""
        case float():
            text = f"{value:.1f}"
        case datetime():
            text = f"{value:%Y-%m-%d %H:%M:%S}"
        case _:
            text = str(value)
    return escaped(" ".join(text.split()))
