"""The event log, read to its end."""

from __future__ import annotations

from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import Event, number_all_events, read_events


def read_all(database: Database) -> list[Event]:
    """Number and read all events, in small pages."""
    number_all_events(database)
    events: list[Event] = []
    after = 0
    while (page := read_events(database, after, limit=3)).items:
        events += page.items
        after = page.next
    assert page.next == after
    return events
