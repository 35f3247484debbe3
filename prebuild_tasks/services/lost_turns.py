"""An attempt cap for turns: a pool whose turns end with their process rests, longer each time, and others go on.

Redis counts no deliveries, so they are counted here, by pool. Only what was delivered again costs a statement.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import delete, select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.core.backoff import rest_after_lost_turns
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.types import conflict_insert

log = structlog.get_logger(__name__)


def note(database: Database, settings: Settings, preset_id: int) -> int:
    """A turn of this pool was delivered again: its process died. Returns how many have in a row; 0: no such pool."""
    with database.write() as connection:
        if connection.execute(select(m.Preset.id).where(m.Preset.id == preset_id)).one_or_none() is None:
            return 0
        insert = conflict_insert(connection, m.LostTurn).values(preset_id=preset_id, count=1)
        values = {"count": m.LostTurn.count + 1}
        upsert = insert.on_conflict_do_update(index_elements=["preset_id"], set_=values)
        count: int = connection.execute(upsert.returning(m.LostTurn.count)).scalar_one()
        rest = rest_after_lost_turns(count, timedelta(seconds=settings.backoff_interval))
        if rest:
            until = database.now(connection) + rest
            connection.execute(update(m.LostTurn).where(m.LostTurn.preset_id == preset_id).values(rests_until=until))
            log.warning("turns_lost", preset=preset_id, count=count, rests_until=until.isoformat())
    return count


def forget(database: Database, preset_id: int) -> None:
    """A turn of this pool came to its end."""
    with database.write() as connection:
        connection.execute(delete(m.LostTurn).where(m.LostTurn.preset_id == preset_id))
