"""Questions that several methods of the client ask, as steps: generators that yield requests and are sent answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.remote.calls import Answer, RemoteCall, Rest
from prebuild_tasks.remote.problems import error_of

T = TypeVar("T")
Steps: TypeAlias = Generator[RemoteCall | Rest, Answer, T]
"""The steps of a method that returns a `T`. The same ones serve a client that blocks and one that does not."""

PAGE_MAX = 500
"""Rows of a page."""


def ask_steps(url: str, call: RemoteCall) -> Steps[JsonObject]:
    return object_of((yield call), url)


def object_of(answer: Answer, url: str) -> JsonObject:
    """Return the body of an answer. Raises the error of one that refuses the request."""
    if not answer.is_success:
        raise error_of(answer, url)
    return answer.object()


def page_steps(
    url: str,
    path: str,
    filters: Mapping[str, str],
    *,
    enough: Callable[[Sequence[JsonObject]], bool] = lambda _rows: False,
    size: int = PAGE_MAX,
) -> Steps[list[JsonObject]]:
    """Return the rows of a list, up to the page with which they are enough."""
    rows: list[JsonObject] = []
    call = RemoteCall("GET", path, query={**filters, "limit": str(size)})
    while True:
        body = yield from ask_steps(url, call)
        items, cursor = body.get("items"), body.get("next")
        if not isinstance(items, list):
            raise PrebuildError("the answer is not a list", hint="check that the address is that of the API")
        rows += [item for item in items if isinstance(item, dict)]
        if not cursor or not items or enough(rows):
            return rows
        call = replace(call, query={**call.query, "cursor": str(cursor)})
