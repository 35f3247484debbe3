"""The beginning of the log, which moves as retention deletes its oldest events."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from prebuild_tasks.model.vocabulary import RECONCILER
from prebuild_tasks.schema import tables as m

_KEY = "events_pruned"
"""Key of the settings row with the highest number that was deleted: the log begins after it."""


def read_pruned(connection: Connection) -> int:
    """Return the highest number that was deleted; 0: none was. Kept rows with lower numbers are in the history only."""
    value = connection.execute(select(m.Setting.value).where(m.Setting.key == _KEY)).scalar_one_or_none()
    return int(str(value["number"])) if value else 0


def note_pruned(connection: Connection, number: int, now: datetime) -> None:
    """Store that the event of this number is about to be deleted. One transaction at a time does so."""
    if number <= read_pruned(connection):
        return
    values = {"value": {"number": number}, "updated_at": now, "updated_by": RECONCILER}
    changed = connection.execute(update(m.Setting).where(m.Setting.key == _KEY).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(m.Setting).values(key=_KEY, **values))
