"""The event log: number what was committed, and read it in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.events.lag import log_lag
    from prebuild_tasks.events.numbering import number_all_events, number_events
    from prebuild_tasks.events.reading import (
        check_position,
        newest_event,
        read_events,
        read_log,
        read_missed,
        sees_event_sql,
    )
    from prebuild_tasks.events.retention import PrunedNumbers, note_pruned, read_pruned
    from prebuild_tasks.events.rules import is_asked_for, sees_event
    from prebuild_tasks.events.types import Event, EventFilter, EventPage, Listener, LoggedEvent, LoggedPage

__all__ = [
    "Event",
    "EventFilter",
    "EventPage",
    "Listener",
    "LoggedEvent",
    "LoggedPage",
    "PrunedNumbers",
    "check_position",
    "is_asked_for",
    "log_lag",
    "newest_event",
    "note_pruned",
    "number_all_events",
    "number_events",
    "read_events",
    "read_log",
    "read_missed",
    "read_pruned",
    "sees_event",
    "sees_event_sql",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "lag": ("log_lag",),
            "numbering": (
                "number_all_events",
                "number_events",
            ),
            "reading": (
                "check_position",
                "newest_event",
                "read_events",
                "read_log",
                "read_missed",
                "sees_event_sql",
            ),
            "retention": (
                "PrunedNumbers",
                "note_pruned",
                "read_pruned",
            ),
            "rules": (
                "is_asked_for",
                "sees_event",
            ),
            "types": (
                "Event",
                "EventFilter",
                "EventPage",
                "Listener",
                "LoggedPage",
                "LoggedEvent",
            ),
        },
    )
