"""The event log of the database, as webhooks read it."""

from __future__ import annotations

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import EventsGoneError
from prebuild_tasks.events import LoggedEvent, newest_event, read_log
from prebuild_tasks.json_views import fields_of
from prebuild_tasks.webhooks.types import EventBatch, OutgoingEvent


class EventLog:
    """Implements `EventSource`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_number(self) -> int:
        """Return the highest number that was given; 0: none yet."""
        return newest_event(self._database)

    def after(self, number: int, limit: int) -> EventBatch:
        """Return at most `limit` events with higher numbers than this one, of those that are still kept."""
        try:
            page = read_log(self._database, number, limit=limit)
        except EventsGoneError as error:
            if number >= error.oldest:  # it is not too old: the log does not have it
                return EventBatch((), self.last_number())
            page = read_log(self._database, error.oldest - 1, limit=limit)
        return EventBatch(tuple(map(_outgoing, page.items)), page.next)


def _outgoing(logged: LoggedEvent) -> OutgoingEvent:
    event = logged.event
    return OutgoingEvent(
        number=event.id,
        kind=event.kind.value,
        at=event.at,
        organization=logged.organization,
        pool=event.pool,
        concerns_all_pools=logged.concerns_all_pools,
        data=fields_of(event),
    )
