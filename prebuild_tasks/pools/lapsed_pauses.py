"""Pauses whose time is over: they no longer hold, and this tells so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, null, select, update

from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, USES_ACTIVE_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.pauses import PAUSED_KEY, global_pause, pause_holds
from prebuild_tasks.schema.row_locks import lock_declaration
from prebuild_tasks.workspaces import FollowUp

_REASON = "the time of the pause is over"


class _Lapsed(NamedTuple):
    """The pauses that are over."""

    presets: Sequence[tuple[PoolName, int]]
    """Each paused preset with its pool, that of the active version last."""
    everything: bool
    """Whether the pause of the whole installation is over."""


def end_lapsed_pauses(database: Database) -> FollowUp:
    """Resume the pools whose pause is over, in the history too. Without any, it only reads."""
    with database.read() as connection:
        if not any(_read_lapsed(connection, database.now(connection))):
            return FollowUp()
    with database.write() as connection:
        # Under the lock that `pause` takes, and with a later look, so that a pause that was prolonged stays.
        lock_declaration(connection)
        now = database.now(connection)
        lapsed = _read_lapsed(connection, now)
        ids = [preset_id for _, preset_id in lapsed.presets]
        connection.execute(update(m.Preset).where(m.Preset.id.in_(ids)).values(paused=null()))
        resumed: list[int | None] = list(dict(lapsed.presets).values())
        if lapsed.everything:
            connection.execute(delete(m.Setting).where(m.Setting.key == PAUSED_KEY))
            resumed.append(None)
        for preset_id in resumed:
            add_history(connection, "resumed", now=now, actor=Actor.system(), preset_id=preset_id, reason=_REASON)
    return FollowUp.of(wake=ids)


def _read_lapsed(connection: Connection, now: datetime) -> _Lapsed:
    query = (
        select(m.Preset.id, m.Preset.paused, m.Template.name.label("template"), m.Preset.name.label("preset"))
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Preset.paused.is_not(None))
        .order_by(USES_ACTIVE_VERSION, m.Preset.id)
    )
    rows = [row for row in connection.execute(query) if row.paused and not pause_holds(row.paused, now)]
    everything = global_pause(connection)
    return _Lapsed(
        [(PoolName(row.template, row.preset), row.id) for row in rows],
        everything is not None and not pause_holds(everything, now),
    )
