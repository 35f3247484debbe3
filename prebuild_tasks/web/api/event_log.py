"""The event log of the database, as streams read it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.events import (
    Event,
    EventFilter,
    Listener,
    LoggedEvent,
    is_asked_for,
    newest_event,
    read_log,
    read_missed,
    sees_event,
)
from prebuild_tasks.json_views import fields_of
from prebuild_tasks.web.api.catching_up import Missed
from prebuild_tasks.web.api.streams import ReadLog

T = TypeVar("T")


class InThread(Protocol):
    """Calls a function in a thread."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Return what the function returns."""


@dataclass(frozen=True, slots=True)
class EventSelection:
    """What a token sees of the events that it asks for."""

    listener: Listener
    wanted: EventFilter

    def sees(self, event: LoggedEvent) -> bool:
        """Return whether the event is part of it."""
        return sees_event(self.listener, event) and is_asked_for(self.wanted, event.event)


def log_of(runtime: Runtime, call: InThread) -> ReadLog[EventSelection, LoggedEvent]:
    """Return how the log of a database is read, by calls in a thread."""
    database = runtime.database

    def missed(selection: EventSelection, after: int) -> Missed:
        page = read_missed(database, after, selection.wanted, selection.listener)
        return Missed(b"".join(map(_encode, page.items)), page.next)

    def items_after(after: int, most: int) -> Sequence[LoggedEvent]:
        return read_log(database, after, limit=most).items

    return ReadLog(
        latest=lambda: call(lambda: newest_event(database)),
        after=lambda after, most: call(lambda: items_after(after, most)),
        number=lambda logged: logged.event.id,
        encode=encode_event,
        missed=lambda selection, after: call(lambda: missed(selection, after)),
    )


def encode_event(logged: LoggedEvent) -> bytes:
    """Return an event as a stream has it. It is ASCII: many clients take every line break of Unicode for one."""
    return _encode(logged.event)


def _encode(event: Event) -> bytes:
    text = json.dumps(fields_of(event), separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.kind}\ndata: {text}\n\n".encode("ascii")
