"""Questions of the client about events: pages as steps, and what the lines of a stream tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.events import Event, EventFilter, EventPage, is_asked_for
from prebuild_tasks.model.event_kinds import EventKind
from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.remote.asking import PAGE_MAX, Steps, ask_steps
from prebuild_tasks.remote.calls import RemoteCall, path_of
from prebuild_tasks.remote.decode import decode

_RESET = "reset"
"""The name of the event that tells that others were missed."""
_KNOWN = frozenset(kind.value for kind in EventKind)


def events_call(wanted: EventFilter) -> RemoteCall:
    """Return the request for the events that are asked for, or for more: the API takes one kind."""
    kinds = wanted.kinds if len(wanted.kinds) == 1 else ()
    filters = {"pool": str(wanted.pool or ""), "owner": wanted.owner, "kind": "".join(kinds)}
    return RemoteCall("GET", path_of("events"), {name: value for name, value in filters.items() if value})


def events_steps(url: str, after: int, wanted: EventFilter, limit: int) -> Steps[EventPage]:
    """Read the events after a number."""
    call, items = events_call(wanted), list[Event]()
    while len(items) < limit:
        query = {**call.query, "after": str(after), "limit": str(min(limit, PAGE_MAX))}
        body = yield from ask_steps(url, RemoteCall("GET", call.path, query))
        rows, last = body.get("items"), body.get("next")
        if not isinstance(rows, list) or not isinstance(last, int):
            raise PrebuildError("the answer is not a page of events", hint="check that the address is that of the API")
        if not rows:
            return EventPage(tuple(items), after)
        items += [event for row in rows if (event := _event(row, wanted))]
        after = last
    shown = tuple(items[:limit])
    return EventPage(shown, shown[-1].id)


@dataclass
class SentEvents:
    """A stream of server-sent events, line by line."""

    wanted: EventFilter
    on_reset: Callable[[], object]
    """Called where others were missed, because they are no longer kept."""
    last: str
    """The number of the last event; empty: none came."""
    pause: float = 0.0
    """Seconds after which the server wants to be asked again."""
    _values: dict[str, str] = field(default_factory=dict)

    def take_pause(self) -> float:
        """Return the pause, once."""
        pause, self.pause = self.pause, 0.0
        return pause

    def add(self, line: str) -> Event | None:
        """Take a line. Returns the event that it ends, if any."""
        if line:
            name, _, value = line.partition(":")
            self._values[name] = value.removeprefix(" ")
            return None
        values, self._values = self._values, {}
        self.last = values.get("id", self.last)
        if (retry := values.get("retry", "")).isdecimal():
            self.pause = int(retry) / 1000
        if values.get("event") == _RESET:
            self.on_reset()
        elif "data" in values:
            return _event(json.loads(values["data"]), self.wanted)
        return None


def _event(value: JsonValue, wanted: EventFilter) -> Event | None:
    """Return an event; None: it is not asked for, or of a kind that only a newer server has."""
    if isinstance(value, dict) and value.get("kind") not in _KNOWN:
        return None
    event = decode(Event, value)
    return event if is_asked_for(wanted, event) else None
