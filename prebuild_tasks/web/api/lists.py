"""Answers with a page of a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeVar

from starlette.responses import Response

from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.web.api.call import Call
from prebuild_tasks.web.api.cursors import Cursors
from prebuild_tasks.web.api.models import PageQuery
from prebuild_tasks.web.api.problems import problem

Row = TypeVar("Row")
Key = TypeVar("Key")


class Sort(NamedTuple):
    """The order of a list, as its cursors name it."""

    name: str
    size: int
    """The number of parts of a position."""


async def after(call: Call, query: PageQuery, sort: Sort, read: Callable[[tuple[str, ...]], Key]) -> Key | None:
    """Return the key after which the page begins; None: it is the first one.

    Raises ProblemError for a cursor that does not belong to this list and its filters.
    """
    if not query.cursor:
        return None
    cursors = await _cursors(call)
    position = cursors.read(query.cursor, sort.name, _filters(call, query), sort.size)
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
    cursor = None
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        cursors = await _cursors(call)
        cursor = cursors.make(sort.name, _filters(call, query), position(rows[-1]))
    return call.answer({"items": [shown(row) for row in rows], "next": cursor}, tagged=tagged)


def instant_of(text: str) -> datetime:
    """Return the instant of a position. Raises ValueError."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("the instant has no offset")
    return at


def _filters(call: Call, query: PageQuery) -> dict[str, str]:
    """Return the filters, and the names in the path, which choose the list."""
    return {**query.filters(), **{name: str(value) for name, value in call.request.path_params.items()}}


async def _cursors(call: Call) -> Cursors:
    return await call.in_thread(partial(getattr, call.door, "cursors"))
