"""Read the event log in the order of its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, false, func, or_, select

from prebuild_tasks.access import Reach, sees_preset_sql
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import EventsGoneError
from prebuild_tasks.events.retention import read_pruned
from prebuild_tasks.events.types import Event, EventFilter, EventPage, Listener, LoggedEvent, LoggedPage
from prebuild_tasks.model.event_kinds import ALL_KINDS, ALL_POOLS_KINDS, TOKEN_KINDS, EventKind, kind_of
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.events import is_in_log, is_of_kinds, number_column
from prebuild_tasks.schema.lookup import pool_presets

PAGE_MAX = 1000
"""The most events of a page."""
SPAN = 10_000
"""Numbers that one read for a listener that catches up goes through, however few of them it sees."""
_ORGANIZATION_OF_TEMPLATE = (m.Organization, m.Organization.id == m.Template.organization_id)


def read_events(
    database: Database,
    after: int = 0,
    wanted: EventFilter | None = None,
    listener: Listener | None = None,
    *,
    limit: int = PAGE_MAX,
) -> EventPage:
    """Read the events after a number, as far as a listener sees them.

    Args:
        database: The database.
        after: The number of the last event that was read; 0: begin with the oldest that is kept.
        wanted: The events that are asked for.
        listener: Who reads; by default whoever sees everything.
        limit: The most events.

    Raises:
        EventsGoneError: Events after this number are no longer kept, or no event of this database has it.
        NotFoundError: There is no pool of the name that is asked for within reach.
    """
    with database.read() as connection:
        items = _read(connection, _Reader.which_asks(connection, wanted, listener), after, limit)
    events = tuple(item.event for item in items)
    return EventPage(events, events[-1].id if events else after)


def read_missed(
    database: Database, after: int, wanted: EventFilter, listener: Listener, *, limit: int = PAGE_MAX, span: int = SPAN
) -> EventPage:
    """Read the next of the events after a number, for whoever catches up: a short read, however many they do not see.

    `next` of the page is the number up to which the log was read. Arguments and errors are as of `read_events`.
    """
    with database.read() as connection:
        # First: what is committed between the statements has higher numbers, and is for the next read.
        reader = _Reader.which_asks(connection, wanted, listener)
        end = min(_newest(connection), max(after, read_pruned(connection).highest_of(reader.kinds)) + span)
        items = _read(connection, reader, after, limit, number_column(connection) <= end)
    events = tuple(item.event for item in items)
    return EventPage(events, events[-1].id if len(events) == limit else max(after, end))


def check_position(database: Database, after: int, wanted: EventFilter, listener: Listener) -> None:
    """Raise what `read_events` does for who cannot go on after a number, without reading any events."""
    with database.read() as connection:
        _read(connection, _Reader.which_asks(connection, wanted, listener), after, 1, false())


def read_log(database: Database, after: int = 0, *, limit: int = PAGE_MAX) -> LoggedPage:
    """Read the events after a number once for all listeners: `sees_event` tells who sees which.

    Arguments and errors are as of `read_events`.
    """
    with database.read() as connection:
        items = tuple(_read(connection, _Reader(ALL_KINDS, [is_of_kinds(ALL_KINDS)]), after, limit))
    return LoggedPage(items, items[-1].event.id if items else after)


def newest_event(database: Database) -> int:
    """Return the number after which no event has one yet."""
    with database.read() as connection:
        return _newest(connection)


def sees_event_sql(listener: Listener) -> list[ColumnElement[bool]]:
    """Build the conditions of `sees_event` on a row of the history with its preset."""
    reach, table = listener.reach, m.History
    conditions = [] if listener.sees_tokens else [~is_of_kinds(TOKEN_KINDS)]
    if reach.owner:
        is_about_nobody = and_(table.owner == "", table.workspace_id.is_(None))
        conditions.append(or_(table.owner == reach.owner, is_about_nobody))
    if within := sees_preset_sql(reach):
        concerns_all = and_(table.preset_id.is_(None), is_of_kinds(ALL_POOLS_KINDS))
        conditions.append(or_(and_(*within), concerns_all))
    return conditions


def is_asked_for_sql(connection: Connection, wanted: EventFilter, reach: Reach) -> list[ColumnElement[bool]]:
    """Build the conditions of `is_asked_for`."""
    conditions = [is_of_kinds(wanted.kinds or ALL_KINDS)]
    if wanted.owner:
        conditions.append(m.History.owner == wanted.owner)
    if wanted.pool:
        presets = pool_presets(connection, str(wanted.pool), sees_preset_sql(reach))
        conditions.append(m.History.preset_id.in_(presets))
    return conditions


@dataclass(frozen=True, slots=True)
class _Reader:
    """What a reader sees of the log."""

    kinds: frozenset[EventKind]
    """The kinds of which it may see events."""
    conditions: Sequence[ColumnElement[bool]]

    @classmethod
    def which_asks(cls, connection: Connection, wanted: EventFilter | None, listener: Listener | None) -> _Reader:
        """Return what a listener sees of the events that it asks for. Raises NotFoundError as `read_events` does."""
        wanted, listener = wanted or EventFilter(), listener or Listener()
        kinds = (wanted.kinds or ALL_KINDS) - (frozenset() if listener.sees_tokens else TOKEN_KINDS)
        asked_for = is_asked_for_sql(connection, wanted, listener.reach)
        return cls(kinds, [*asked_for, *sees_event_sql(listener)])

    def query(self, connection: Connection) -> Select[*tuple[Any, ...]]:
        """Select the events that it sees."""
        return _query(connection).where(is_in_log(connection), *self.conditions)


def _query(connection: Connection) -> Select[*tuple[Any, ...]]:
    table = m.History
    return (
        select(
            number_column(connection).label("number"), table.at, table.event, table.reason, table.owner,
            table.workspace, table.workspace_id, table.preset_id, table.actor, table.details,
            m.Template.name.label("template_name"), m.Preset.name.label("preset_name"),
            m.Organization.name.label("organization_name"),
        )
        .outerjoin(m.Preset, m.Preset.id == table.preset_id)
        .outerjoin(*VERSION_OF_PRESET)
        .outerjoin(*TEMPLATE_OF_VERSION)
        .outerjoin(*_ORGANIZATION_OF_TEMPLATE)
    )  # fmt: skip


def _read(
    connection: Connection, reader: _Reader, after: int, limit: int, *conditions: ColumnElement[bool]
) -> list[LoggedEvent]:
    """Read the events that a reader sees, and that meet more conditions. Raises EventsGoneError."""
    number = number_column(connection)
    begin = max(after, read_pruned(connection).highest_of(reader.kinds))
    page = reader.query(connection).where(number > begin, *conditions).order_by(number).limit(limit)
    rows = connection.execute(page).all()
    # Read again, because retention may have deleted rows in between.
    if 0 < after < read_pruned(connection).highest_of(reader.kinds):
        raise _gone(connection, reader, f"events after {after} are no longer kept")
    # Whoever has a number got it from a committed row, which this later statement sees, whatever process numbered it.
    if after and not rows and after > (newest := _newest(connection)):
        message = f"there is no event {after}: the database was restored, or is another one"
        raise _gone(connection, reader, message, newest)
    return list(_logged(rows))


def _newest(connection: Connection) -> int:
    """Return the highest number that was given. The row that has it may be deleted before rows with lower ones."""
    newest = select(func.max(number_column(connection))).where(is_in_log(connection))
    return max(connection.execute(newest).scalar_one() or 0, read_pruned(connection).highest)


def _gone(connection: Connection, reader: _Reader, message: str, go_on: int | None = None) -> EventsGoneError:
    """Return the error of a reader that cannot go on where it was, but after `go_on`.

    The oldest is one that it sees: before that one there is nothing for it, so it is not told again with each deletion.
    """
    newest = _newest(connection)  # first: what is committed meanwhile has a higher number
    number = number_column(connection)
    page = reader.query(connection).where(number > read_pruned(connection).highest_of(reader.kinds)).order_by(number)
    first = connection.execute(page.limit(1)).first()
    oldest = first.number if first else newest + 1
    return EventsGoneError(
        message,
        oldest=oldest,
        hint=f"read again what you follow, then go on after {oldest - 1 if go_on is None else go_on}",
    )


def _logged(rows: Iterable[Row[*tuple[Any, ...]]]) -> Iterable[LoggedEvent]:
    for row in rows:
        if (kind := kind_of(row.event, row.reason)) is None:
            continue
        is_about_somebody = row.owner or row.workspace_id
        event = Event(
            id=row.number,
            at=row.at,
            kind=kind,
            pool=PoolName(row.template_name, row.preset_name) if row.preset_name else None,
            owner=row.owner if is_about_somebody else None,
            workspace=row.workspace or row.workspace_id,
            actor=row.actor,
            reason=row.reason,
            data=_data(kind, row.event, row.details),
        )
        yield LoggedEvent(event, row.organization_name or "", row.preset_id is None and kind in ALL_POOLS_KINDS)


def _data(kind: EventKind, event: str, details: JsonObject | None) -> JsonObject:
    """Return an event's further values; of a build, what it was for and how it ended."""
    if kind is not EventKind.BUILD_ENDED:
        return details or {}
    transition, _, status = event.partition("_")
    return {"transition": transition, "status": status, **(details or {})}
