"""The command `events`, which shows the event log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated

import typer

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.afar import afar
from prebuild_tasks.cli.completion import PresetOption
from prebuild_tasks.cli.output import JsonOption, cell_text, opened, write, write_json, write_json_line, write_rows
from prebuild_tasks.config import load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError, EventsGoneError, InputError, PrebuildError, UnreachableError
from prebuild_tasks.events import Event, EventFilter, EventPage, newest_event, number_all_events, read_events
from prebuild_tasks.json_views import fields_of, rows_of
from prebuild_tasks.model.event_kinds import EventKind
from prebuild_tasks.model.names import PresetRef

_FOLLOW_PAUSE = 0.5
"""Seconds between two reads."""
_COLUMNS = {
    "id": "EVENT",
    "at": "WHEN (UTC)",
    "kind": "WHAT",
    "pool": "POOL",
    "workspace": "WORKSPACE",
    "owner": "OWNER",
    "actor": "WHO",
    "reason": "WHY",
}
_GIVE_WAY = ("reason", "actor", "owner", "workspace", "pool")
"""Columns that stand below their row in a narrow terminal, the first of them first."""
_Read = Callable[[int], EventPage]


def complete_kind(incomplete: str) -> list[str]:
    """Return the kinds of events that start with this text."""
    return [kind.value for kind in EventKind if kind.startswith(incomplete)]


# The arguments are the options of the command.
def events(
    pool: PresetOption = "",
    owner: Annotated[str, typer.Option(help="Only those of this owner's workspaces and claims")] = "",
    kind: Annotated[
        list[str] | None, typer.Option(help="Only this kind; may be repeated", autocompletion=complete_kind)
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Begin after this event; by default with the oldest that is kept, or to follow, now"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most events to show")] = 1000,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with new events until Ctrl-C")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what happened, oldest first: claims, builds, pools that are short or full, and what people changed.

    Each event has a number, and nothing ever appears before one that was shown: `--after` goes on where you stopped.
    """
    wanted = _wanted(pool, owner, kind or ())
    if remote := afar():
        if follow:
            with suppress(KeyboardInterrupt):
                for event in remote.follow_events(after, wanted, _warn_of_gap):
                    _write([event], as_json=as_json)
            return
        page = remote.events(after or 0, wanted, limit)
    else:
        database = opened(Runtime(load_settings())).database
        _number(database)
        if follow:
            with suppress(KeyboardInterrupt):
                _follow(database, wanted, after, as_json=as_json)
            return
        page = read_events(database, after or 0, wanted, limit=limit)
    if as_json:
        write_json(rows_of(page.items))
        return
    _write_table(page.items)
    if len(page.items) == limit:
        write(f"(the first {limit}; more with --after {page.next})")


def _wanted(pool: str, owner: str, kinds: Sequence[str]) -> EventFilter:
    unknown = [kind for kind in kinds if kind not in list(EventKind)]
    if unknown:
        raise InputError(f"--kind {unknown[0]!r} is unknown", hint=f"use one of {', '.join(EventKind)}")
    name = PresetRef.parse(pool).pool if pool else None
    return EventFilter(pool=name, owner=owner, kinds=frozenset(EventKind(kind) for kind in kinds))


def _number(database: Database) -> None:
    """Give numbers to what is committed by now, where this user may write; otherwise a server or the sweep does it."""
    with suppress(PrebuildError):
        number_all_events(database)


def _follow(database: Database, wanted: EventFilter, after: int | None, *, as_json: bool) -> None:
    number = newest_event(database) if after is None else after
    while True:
        try:
            page = read_events(database, number, wanted)
        except EventsGoneError as error:
            _warn_of_gap(error.message)
            number = error.oldest - 1
            continue
        except (BusyError, UnreachableError) as error:
            sys.stderr.write(f"warning: {error.message}\n")
            page = EventPage((), number)
        if page.items:
            _write(page.items, as_json=as_json)
        else:
            time.sleep(_FOLLOW_PAUSE)
            _number(database)
        number = page.next


def _warn_of_gap(what: str = "some events were missed") -> None:
    sys.stderr.write(f"warning: {what}; going on with the oldest that is kept\n")


def _write(items: Sequence[Event], *, as_json: bool) -> None:
    """Write an event a line, so that a table's widths need not be known."""
    for item in items:
        if as_json:
            write_json_line(fields_of(item))
        else:
            cells = {**fields_of(item), "at": item.at}
            write("  ".join(text for name in _COLUMNS if (text := cell_text(cells[name]))))
    sys.stdout.flush()


def _write_table(items: Sequence[Event]) -> None:
    rows = [{**fields_of(item), "at": item.at} for item in items]
    write_rows(rows, _COLUMNS, empty="nothing happened yet", gives_way=_GIVE_WAY)
