"""Give committed events their numbers.

A change's transaction writes its event without a number, so no change waits for another one's. One sequencer at a time
numbers what is committed by then, in its own short transaction. Its snapshot is newer than the end of the one before,
whose numbers are all lower: so whoever has read a number never sees a lower one appear later. A row that another
program has locked is left to a later one and gets a higher number, instead of holding up all others; nothing of this
project locks a row without a number.
"""

from __future__ import annotations

from sqlalchemy import bindparam, func, literal_column, select, update

from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.row_locks import skip_locked, try_lock_numbering

BATCH = 1000
"""The most events that one transaction numbers."""

_IS_UNNUMBERED = m.History.number.is_(None)
# By the index of these rows, whatever the statistics say: they may be of a time when no row had a number.
_ANY = select(m.History.id).where(_IS_UNNUMBERED).order_by(m.History.id).limit(literal_column("1"))
# The inner query is ordered before the outer one takes the numbers, because it has a LIMIT.
_FREE = skip_locked(select(m.History.id).where(_IS_UNNUMBERED).order_by(m.History.id).limit(bindparam("limit")))
_OLDEST = _FREE.subquery()
_NUMBERED = select(_OLDEST.c.id, func.nextval("history_number").label("number")).subquery()
_NUMBER = update(m.History).where(m.History.id == _NUMBERED.c.id).values(number=_NUMBERED.c.number)


def number_all_events(database: Database) -> None:
    """Give all events their numbers that are committed by now, batch by batch."""
    while number_events(database) == BATCH:
        pass


def number_events(database: Database, limit: int = BATCH) -> int:
    """Give numbers to the oldest events that are committed, free and have none, and return how many there were.

    Without any, it is one read. If another process is at it, or on SQLite, where the id is the number, nothing is done.
    """
    if database.dialect == "sqlite":
        return 0
    with database.read() as connection:
        if connection.execute(_ANY).scalar_one_or_none() is None:
            return 0
    with database.write() as connection:
        # Lock, then number in another statement: the locking statement's snapshot is from before the lock.
        if not try_lock_numbering(connection):
            return 0
        return connection.execute(_NUMBER, {"limit": limit}).rowcount
