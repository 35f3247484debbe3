"""Work that one process of the installation does once per interval."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from prebuild_tasks.db.types import conflict_insert
from prebuild_tasks.schema import tables as m


def claim_turn(connection: Connection, key: str, now: datetime, interval: timedelta, *, actor: str) -> bool:
    """Take the work under `key` if `interval` has passed since it was last taken. Return whether it was taken."""
    table = m.Setting
    last = connection.execute(select(table.updated_at).where(table.key == key)).scalar_one_or_none()
    if last is None:
        values = {"key": key, "value": {}, "updated_at": now, "updated_by": actor}
        first = conflict_insert(connection, table).values(values).on_conflict_do_nothing().returning(table.key)
        return connection.execute(first).first() is not None
    if now - last < interval:
        return False
    taken = update(table).where(table.key == key, table.updated_at == last)
    return connection.execute(taken.values(updated_at=now, updated_by=actor)).rowcount == 1
