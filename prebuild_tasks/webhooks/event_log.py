"""The event log of the database, as webhooks read it."""

from __future__ import annotations

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import EventsGoneError
from prebuild_tasks.events import LoggedEvent, newest_event, read_log, read_pruned
from prebuild_tasks.json_views import fields_of
from prebuild_tasks.model.event_kinds import ALL_KINDS
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
        first_kept = self._first_kept() if number == 0 else 0
        try:
            page = read_log(self._database, number, limit=limit)
        except EventsGoneError as error:
            if number >= error.oldest:  # it is not too old: the log does not have it
                return EventBatch((), self.last_number())
            first_kept = error.oldest
            page = read_log(self._database, first_kept - 1, limit=limit)
        return EventBatch(tuple(map(_outgoing, page.items)), page.next, first_kept)

    def _first_kept(self) -> int:
        """Return the lowest number that is kept; 0: nothing was deleted. Reading after 0 never tells that some were."""
        with self._database.read() as connection:
            pruned = read_pruned(connection).highest_of(ALL_KINDS)
        return pruned + 1 if pruned else 0


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
