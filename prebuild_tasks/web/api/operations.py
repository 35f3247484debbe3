"""The description of a route: its method and path, the scope that it needs, what it takes and what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from pydantic import BaseModel
from starlette.responses import Response

from prebuild_tasks.access import Scope
from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.web.api.call import Call
from prebuild_tasks.web.api.models import Nothing

JSON, TEXT, HTML = "application/json", "text/plain; charset=utf-8", "text/html; charset=utf-8"
EVENT_STREAM = "text/event-stream"
CUT = "prebuild.cut"
"""The extension of ASGI whose `abort` breaks the connection of a request, whatever is still to be sent."""
METRICS = "text/plain; version=1.0.0; charset=utf-8"

Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class NextCall:
    """A call that an answer leads to, as OpenAPI describes it."""

    operation: str
    """The name of its operation."""
    parameters: Mapping[str, str]
    """Where the answer has each of its parameters: a JSON pointer into the body, such as `id` or `items/0/build`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDoc:
    """An answer that a route gives when it does what it was asked."""

    what: str
    """A sentence."""
    model: type[BaseModel] | None = None
    """The model of a JSON body; None: it has none, or another media type."""
    example: JsonValue = None
    status: int = HTTPStatus.OK
    media_type: str = JSON
    headers: tuple[str, ...] = ()
    """Names of headers that it may have, or has, if `openapi` says that they are required."""
    links: tuple[NextCall, ...] = ()
    """What may come next."""
    stream: str = ""
    """An example of the event stream that the same route answers to who asks for one; empty: it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A route with one method."""

    method: str
    path: str
    name: str
    """The operation's id in the OpenAPI document."""
    summary: str
    scope: Scope | None
    """The scope that a token needs; None: the route is open."""
    handle: Handler
    answers: tuple[AnswerDoc, ...]
    query: type[BaseModel] = Nothing
    body: type[BaseModel] | None = None
    """None: it takes no body."""
    body_needed: bool = False
    body_example: JsonValue = None
    takes_key: bool = False
    """Whether it takes the header `Idempotency-Key`."""
    refusals: tuple[int, ...] = field(default=())
    """Statuses of problems, beside those that every route may answer."""
    tagged: bool = False
    """Whether its answer has an entity tag, and 304 is another one."""
    of_pools: bool = False
    """Whether it changes pools, which serve every owner, so that a token for one owner may not use it."""
    sees_all: bool = False
    """Whether it is about the whole installation, so that a token with any restriction may not use it."""

    @property
    def has_body(self) -> bool:
        """Whether a request's content is read."""
        return self.method in ("POST", "DELETE")
