"""The rows of the history as an event log: their numbers, and the rows of a kind.

On PostgreSQL, a sequencer gives the numbers once rows are committed. On SQLite, one transaction at a time writes, so
the id is the number.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from prebuild_tasks.model.event_kinds import CLAIMED, KINDS, EventKind
from prebuild_tasks.model.vocabulary import CLAIM_REASON
from prebuild_tasks.schema import tables as m


def number_column(connection: Connection) -> InstrumentedAttribute[int] | InstrumentedAttribute[int | None]:
    """Return the column with the number of a row of the log."""
    return m.History.number if connection.dialect.name == "postgresql" else m.History.id


def is_in_log(connection: Connection) -> ColumnElement[bool]:
    """Build the condition that a row is in the log: it has a number, and is not of before schema 0014."""
    return m.History.number > 0 if connection.dialect.name == "postgresql" else m.History.number.is_(None)


def is_of_kinds(kinds: Collection[EventKind]) -> ColumnElement[bool]:
    """Build the condition of `kind_of`: the row is of one of these kinds."""
    events = [event for event, kind in KINDS.items() if kind in kinds]
    conditions: list[ColumnElement[bool]] = [m.History.event.in_(events)]
    claimed, by_claim = m.History.event == CLAIMED, m.History.reason == CLAIM_REASON
    if EventKind.CLAIM in kinds:
        conditions.append(and_(claimed, by_claim))
    if EventKind.HANDED_OVER in kinds:
        conditions.append(and_(claimed, ~by_claim))
    return or_(*conditions)
