"""Lists that are read page by page, with the cursors of the API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from urllib.parse import urlencode

from prebuild_tasks.insight import CreatedKey
from prebuild_tasks.web.api.lists import Asking, Sort, after, cut, instant_of
from prebuild_tasks.web.api.models import PageQuery

Row = TypeVar("Row")
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Order(Generic[Row, Key]):
    """The order of a list: how a row's place in it is written into a cursor, and read from it."""

    sort: Sort
    write: Callable[[Row], tuple[str, ...]]
    read: Callable[[tuple[str, ...]], Key]
    """Raises ValueError for the position of another list."""


@dataclass(frozen=True, slots=True)
class ListedPage(Generic[Row]):
    """A page of a list."""

    rows: Sequence[Row]
    next: str
    """The query of the next page; empty: there is none."""
    is_first: bool


async def list_page(
    asking: Asking, query: PageQuery, order: Order[Row, Key], read: Callable[[Key | None, int], Sequence[Row]]
) -> ListedPage[Row]:
    """Read the page of a list that a query asks for; `read` gets the key after which it begins, and a limit.

    Raises ProblemError (400) for a cursor that does not belong to the list and its filters, and what `read` raises.
    """
    start = await after(asking, query, order.sort, order.read)
    rows = await asking.in_thread(lambda: read(start, query.limit + 1))
    rows, cursor = await cut(asking, query, order.sort, rows, order.write)
    values = query.filters()
    if "limit" in query.model_fields_set:
        values["limit"] = str(query.limit)
    following = "?" + urlencode({**values, "cursor": cursor}) if cursor else ""
    return ListedPage(rows, following, start is None)


def created_key(position: tuple[str, ...]) -> CreatedKey:
    """Return the key of a workspace or a build at a position. Raises ValueError."""
    return CreatedKey(instant_of(position[0]), position[1])


def created_position(created_at: datetime, row_id: str) -> tuple[str, ...]:
    """Return the position of a workspace or a build."""
    return created_at.isoformat(), row_id
