"""Answers with a page of a list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from starlette.responses import Response

from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.web.api.call import Call
from prebuild_tasks.web.api.cursors import Cursors
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.api.models import PageQuery
from prebuild_tasks.web.api.problems import problem

Row = TypeVar("Row")
Key = TypeVar("Key")
T = TypeVar("T")


class Asking(Protocol):
    """A request for a list: a call of the API, a visit of a page, or a read for an open page."""

    @property
    def door(self) -> Door:
        """The state of the process."""

    @property
    def names(self) -> Mapping[str, str]:
        """The names in its path, which may choose the list."""

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Call a function that uses the database, in a thread."""


class Sort(NamedTuple):
    """The order of a list, as its cursors name it."""

    name: str
    size: int
    """The number of parts of a position."""


async def after(asking: Asking, query: PageQuery, sort: Sort, read: Callable[[tuple[str, ...]], Key]) -> Key | None:
    """Return the key after which the page begins; None: it is the first one.

    Raises ProblemError for a cursor that does not belong to this list and its filters.
    """
    if not query.cursor:
        return None
    cursors = await _cursors(asking)
    position = cursors.read(query.cursor, sort.name, _filters(asking, query), sort.size)
    try:
        return read(position)
    except ValueError:
        raise problem(400, "malformed_cursor", "the cursor belongs to another list") from None


# More than six arguments would be needed without the query, which holds the limit and the filters.
async def page(
    call: Call,
    query: PageQuery,
    sort: Sort,
    rows: Sequence[Row],
    position: Callable[[Row], tuple[str, ...]],
    shown: Callable[[Row], JsonValue],
    *,
    tagged: bool = False,
) -> Response:
    """Answer with the rows of a page, of which one more than the limit was read if there are more."""
    rows, cursor = await cut(call, query, sort, rows, position)
    return call.answer({"items": [shown(row) for row in rows], "next": cursor}, tagged=tagged)


async def cut(
    asking: Asking, query: PageQuery, sort: Sort, rows: Sequence[Row], position: Callable[[Row], tuple[str, ...]]
) -> tuple[Sequence[Row], str | None]:
    """Return the rows of a page, and the cursor of the next one; None: there is none."""
    if len(rows) <= query.limit:
        return rows, None
    rows = rows[: query.limit]
    cursors = await _cursors(asking)
    return rows, cursors.make(sort.name, _filters(asking, query), position(rows[-1]))


def instant_of(text: str) -> datetime:
    """Return the instant of a position. Raises ValueError."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("the instant has no offset")
    return at


def _filters(asking: Asking, query: PageQuery) -> dict[str, str]:
    """Return the filters, and the names in the path, which choose the list."""
    return {**query.filters(), **asking.names}


async def _cursors(asking: Asking) -> Cursors:
    return await asking.in_thread(partial(getattr, asking.door, "cursors"))
