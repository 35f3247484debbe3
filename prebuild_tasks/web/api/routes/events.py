"""Events: read the log, or listen to it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from starlette.responses import Response

from prebuild_tasks.access import Scope
from prebuild_tasks.errors import EventsGoneError, InputError, NotFoundError
from prebuild_tasks.events import EventFilter, Listener, check_position, newest_event, read_events
from prebuild_tasks.json_views import fields_of
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.web.api import examples
from prebuild_tasks.web.api.accept import prefers
from prebuild_tasks.web.api.auth import bearer_of
from prebuild_tasks.web.api.call import Call
from prebuild_tasks.web.api.event_answers import EventPageAnswer
from prebuild_tasks.web.api.event_log import EventSelection
from prebuild_tasks.web.api.links import EVENTS
from prebuild_tasks.web.api.models import EventsQuery
from prebuild_tasks.web.api.operations import EVENT_STREAM, AnswerDoc, Operation
from prebuild_tasks.web.api.problems import problem
from prebuild_tasks.web.api.stream_response import StreamResponse, cut_of

LAST_EVENT_ID = "last-event-id"
_JSON = "application/json"
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


async def read(call: Call) -> Response:
    """Answer with a page of events, or with a stream if the client asks for one."""
    query, last = call.query(EventsQuery), _last_event_id(call)
    selection = EventSelection(Listener.of(call.principal), _wanted(query))
    if prefers(EVENT_STREAM, _JSON, call.request.headers.getlist("accept")):
        return await _stream(call, selection, query.after if last is None else last)
    page = await call.in_thread(
        lambda: read_events(
            call.runtime.database, query.after or 0, selection.wanted, selection.listener, limit=query.limit
        )
    )
    return call.answer({"items": [fields_of(event) for event in page.items], "next": page.next})


def _last_event_id(call: Call) -> int | None:
    """Return the number of the last event that a client has. Raises ProblemError for one that is malformed."""
    sent = call.request.headers.getlist(LAST_EVENT_ID)
    if not sent:
        return None
    if len(sent) > 1 or not _NUMBER.fullmatch(sent[0]):
        raise problem(400, "malformed_query", "the header Last-Event-ID is not the id of an event")
    return int(sent[0])


def _wanted(query: EventsQuery) -> EventFilter:
    """Return the filter of a query. Raises NotFoundError for a name that no pool can have."""
    try:
        pool = PresetRef.parse(query.pool).pool if query.pool else None
    except InputError as error:
        raise NotFoundError(error.message, hint=error.hint) from None
    return EventFilter(pool=pool, owner=query.owner, kinds=frozenset([query.kind] if query.kind else ()))


async def _stream(call: Call, selection: EventSelection, after: int | None) -> Response:
    # The pool has to exist within reach, and the position to be kept: the same read tells both.
    begin = await call.in_thread(lambda: _begin(call, selection, after))
    places, key = call.door.places, call.principal.key
    places.take(key, f"the token {call.principal.name}")
    # Nothing is awaited from here until the response is sent, which gives the place back.
    return StreamResponse(_events(call, selection, begin), lambda: places.leave(key))


@dataclass(frozen=True, slots=True)
class _Begin:
    """Where a stream begins."""

    after: int
    oldest: int = 0
    """The oldest event that is kept, if the client has missed some; else 0."""


def _begin(call: Call, selection: EventSelection, after: int | None) -> _Begin:
    """Return where a stream after a number begins, or for None one at the present end."""
    database = call.runtime.database
    start = newest_event(database) if after is None else after
    try:
        check_position(database, start, selection.wanted, selection.listener)
    except EventsGoneError as error:
        return _Begin(error.oldest - 1, error.oldest)
    return _Begin(start)


async def _events(call: Call, selection: EventSelection, begin: _Begin) -> AsyncIterator[bytes]:
    door, token = call.door, bearer_of(call.request)
    # Without data, it tells no event, but a client that is cut off before the first one knows where to go on.
    yield b"id: %d\n\n" % begin.after
    if begin.oldest:
        yield b"event: reset\ndata: %s\n\n" % json.dumps({"oldest": begin.oldest}).encode()
    await door.after_answer(call.principal)  # the answer may have no end for days
    until = door.token_watch.unless_ended(token, door.stopping.wait())
    async with aclosing(door.streams.listen(selection, begin.after, until, cut_of(call.request))) as chunks:
        async for chunk in chunks:
            yield chunk


_PAGE: JsonObject = {"items": [examples.LOGGED_EVENT], "next": 1042}
OPERATIONS = (
    Operation(
        method="GET", path=EVENTS, name="readEvents",
        summary="Read what happened, in order; with `Accept: text/event-stream`, listen to it",
        scope=Scope.READ, handle=read, query=EventsQuery, refusals=(404, 410),
        answers=(
            AnswerDoc(
                what="The events after a number; `next` is the last of them", model=EventPageAnswer, example=_PAGE,
                stream=examples.EVENT_STREAM,
            ),
        ),
    ),
)  # fmt: skip
