"""The list of builds, and one of them with its output, which can be followed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from starlette.responses import Response

from prebuild_tasks.access import Reach
from prebuild_tasks.insight import BuildView, CreatedKey, LogPage, build_log, list_builds, read_build
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.api.lists import Sort
from prebuild_tasks.web.api.models import BuildsQuery
from prebuild_tasks.web.api.problems import problem
from prebuild_tasks.web.page.ansi import LogMarkup
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.listing import (
    PAGE_FIELDS,
    ListedPage,
    Order,
    created_key,
    created_position,
    list_page,
    list_parts,
)
from prebuild_tasks.web.page.live import read_live, show_live, viewer_of
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer, ViewRead, seen_alike
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.values import read_values
from prebuild_tasks.web.page.visit import Visit

_LIST = "/builds"
_ORDER: Order[BuildView, CreatedKey] = Order(
    Sort("builds", 2), lambda row: created_position(row.created_at, row.build), created_key
)
LOG_SHOWN = 1_000_000
"""The most characters of an output that a page begins with, but for the line that they begin in."""

_NUMBERS = re.compile(r"\d{1,9}\.\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogPiece:
    """A piece of an output as markup."""

    markup: Markup
    after: str
    """The cursor of the next piece."""
    ended: bool
    """Whether no more will come."""
    facts: str
    """Differs from that of the piece before once the facts of the build have changed."""
    hidden: int = 0
    """The characters before it that are not shown."""


async def show_builds(visit: Visit) -> Response:
    """Show the builds within reach, newest first."""
    listing = await read_live(visit, BUILDS)
    query = _query(viewer_of(visit, BUILDS))
    return show_live(
        visit, BUILDS, listing, "builds",
        changes=listing.is_first, shown=query, statuses=[status.value for status in BuildStatus],
    )  # fmt: skip


async def _read_builds(look: ViewRead) -> ListedPage[BuildView]:
    query, database, reach = _query(look.viewer), look.door.runtime.database, look.viewer.reach
    return await list_page(
        look, query, _ORDER,
        lambda start, limit: list_builds(
            database, reach, start, limit, preset=query.preset, status=query.status or ""
        ),
    )  # fmt: skip


def _builds_parts(listing: ListedPage[BuildView], viewer: Viewer) -> Sequence[Part]:
    return list_parts("builds", listing, lambda row: f"build-{row.build}", _query(viewer))


def _query(viewer: Viewer) -> BuildsQuery:
    return read_values(BuildsQuery, dict(viewer.fields))


async def show_build(visit: Visit) -> Response:
    """Show a build and its output so far."""
    door, name, reach = visit.door, visit.named("id"), visit.principal.reach
    row, log = await visit.in_thread(lambda: _read_piece(door, name, reach, (0, 0), LogMarkup()))
    return visit.show("build", row=row, log=log)


async def show_log(visit: Visit) -> Response:
    """Answer with what a build wrote after a cursor, as an element to be appended."""
    log = await read_live(visit, OUTPUT)
    return visit.part("log", "log_piece", log)


async def _read_output(look: ViewRead) -> LogPiece:
    door, name, reach = look.door, look.viewer.field("id"), look.viewer.reach
    position, markup = _read_cursor(look.viewer.field("after") or "0.0")
    _, log = await look.in_thread(lambda: _read_piece(door, name, reach, position, markup))
    return log


def _read_piece(
    door: Door, name: str, reach: Reach, after: tuple[int, int], markup: LogMarkup
) -> tuple[BuildView, LogPiece]:
    """Read a build and its output after a position. In a thread: a million characters of colours take a good second."""
    database = door.runtime.database
    row = read_build(database, name, reach)
    page = build_log(database, row.build, after, reach)
    if page.ended and not row.status.final:  # it has just ended, and a page that is complete is not followed
        row = read_build(database, row.build, reach)
    return row, log_piece(row, page, markup)


def log_piece(row: BuildView, page: LogPage, markup: LogMarkup) -> LogPiece:
    """Return a part of the output of a build as markup, which goes on where `markup` was."""
    text, hidden = page.text, 0
    if len(text) > LOG_SHOWN:
        hidden = text.rfind("\n", 0, len(text) - LOG_SHOWN) + 1
        text = text[hidden:]
    shown = markup.add(text)
    if page.ended:
        shown += markup.end()
    attempt, number = page.cursor
    facts = f"{row.status.value}.{row.attempt}{'.waits' if row.waits else ''}"
    return LogPiece(shown, f"{attempt}.{number}.{markup.state}", page.ended, facts, hidden)


def _read_cursor(cursor: str) -> tuple[tuple[int, int], LogMarkup]:
    """Return the position of a cursor `A.S`, and the state of the text there, if it has that too."""
    try:
        attempt, number, *state = cursor.split(".", 2)
        if not _NUMBERS.fullmatch(f"{attempt}.{number}"):
            raise ValueError
        return (int(attempt), int(number)), LogMarkup.at(state[0]) if state else LogMarkup()
    except ValueError:
        hint = "leave it out to begin anew"
        raise problem(400, "malformed_cursor", "the cursor is not one of an output", hint=hint) from None


BUILDS = LiveKind(
    name="builds", read=_read_builds, parts=_builds_parts, fields=("preset", "status", *PAGE_FIELDS), subject=seen_alike
)
OUTPUT = LiveKind(name="output", read=_read_output, fields=("id", "after"), subject=seen_alike)
"""All who follow a build have come to the same place."""
PAGES = (
    Page(path=_LIST, handle=show_builds, title="Builds", live=BUILDS),
    Page(path=_LIST + "/{id}", handle=show_build),
    Page(path=_LIST + "/{id}/log", handle=show_log),
)
