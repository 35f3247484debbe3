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
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.render import Frame, render_part
from prebuild_tasks.web.page.visit import root_of

Item = TypeVar("Item")
Key = TypeVar("Key")
PAGE_FIELDS = ("limit", "cursor")
"""The fields that choose the page of a list. The first one changes while it is open."""


@dataclass(frozen=True, slots=True)
class Order(Generic[Item, Key]):
    """The order of a list: how a row's place in it is written into a cursor, and read from it."""

    sort: Sort
    write: Callable[[Item], tuple[str, ...]]
    read: Callable[[tuple[str, ...]], Key]
    """Raises ValueError for the position of another list."""


@dataclass(frozen=True, slots=True)
class ListedPage(Generic[Item]):
    """A page of a list."""

    rows: Sequence[Item]
    next: str
    """The query of the next page; empty: there is none."""
    is_first: bool
    root: str
    """Begins every path."""


async def list_page(
    asking: Asking, query: PageQuery, order: Order[Item, Key], read: Callable[[Key | None, int], Sequence[Item]]
) -> ListedPage[Item]:
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
    return ListedPage(rows, following, start is None, root_of(asking.door))


def list_parts(name: str, listing: ListedPage[Item], row_id: Callable[[Item], str], *values: object) -> Sequence[Part]:
    """Return the parts of a list: the rows, what stands in their place if there are none, and the links to its pages.

    They are the macros `row`, `empty` and `pages` of the template `NAME_parts`, each with the frame, the row or the
    list, and the values.
    """
    template, frame = f"{name}_parts", Frame(root=listing.root)
    others = {kind: render_part(template, kind, frame, listing, *values) for kind in ("empty", "pages")}
    rows = [Part(row_id(row), render_part(template, "row", frame, row, *values), name) for row in listing.rows]
    return [*(Part(f"{name}-{kind}", html) for kind, html in others.items()), *rows]


def created_key(position: tuple[str, ...]) -> CreatedKey:
    """Return the key of a workspace or a build at a position. Raises ValueError."""
    return CreatedKey(instant_of(position[0]), position[1])


def created_position(created_at: datetime, row_id: str) -> tuple[str, ...]:
    """Return the position of a workspace or a build."""
    return created_at.isoformat(), row_id
